"""Signing in with a password, and what an attacker would make of it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher

from actions.people import create_user
from actions.sign_in import count_attempt, forget_sign_ins
from app.accounts import add_user, set_active
from app.auth.passwords import Passwords
from app.auth.sessions import Lifetimes, Limits, Sessions, anonymous
from app.auth.tokens import HS256, Key
from app.settings import Settings
from db.database import Database
from domain.access import Role
from domain.errors import Unauthenticated
from tests.http.graphql_socket import connect
from tests.security.signing import ADA, PASSWORD, SECRET, bearer, token
from tests.servers import ServerProcess
from tests.waiting import until

WRONG = {"error": "The email or the password is wrong", "code": "UNAUTHENTICATED"}
ENDED = {"error": "The session has ended: sign in again", "code": "UNAUTHENTICATED"}


async def sign_in(http: httpx.AsyncClient, email: str = ADA, password: str = PASSWORD) -> dict[str, Any]:
    answer = await http.post("/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def is_refused(http: httpx.AsyncClient, access_token: str) -> bool:
    return (await http.get("/api/auth/me", headers=bearer(access_token))).status_code == 401


async def refresh(http: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
    return await http.post("/api/auth/refresh", json={"refresh_token": refresh_token})


async def audited(database: asyncpg.Connection, *, since: datetime) -> Counter[str]:
    wanted = "select action from audit_log where occurred_at >= $1 and subject_type = 'user'"
    rows = await database.fetch(wanted, since)
    return Counter(row["action"] for row in rows)


async def test_who_signs_in_is_known_and_signs_out_again(
    closed: httpx.AsyncClient, closed_database: asyncpg.Connection
):
    began = datetime.now(UTC)
    tokens = await sign_in(closed, ADA.upper())
    assert (tokens["token_type"], tokens["expires_in"], tokens["user"]["name"]) == ("Bearer", 900, "Ada")
    headers = bearer(tokens["access_token"])
    me = (await closed.get("/api/auth/me", headers=headers)).json()
    assert (me["name"], me["role"], me["scopes"]) == ("Ada", "admin", None)
    viewer = {"query": "{ viewer { name role scopes user { name } } }"}
    answer = (await closed.post("/graphql", json=viewer, headers=headers)).json()
    assert answer["data"]["viewer"] == {"name": "Ada", "role": "ADMIN", "scopes": None, "user": {"name": "Ada"}}
    assert (await closed.post("/api/auth/logout", headers=headers)).status_code == 204
    await until(lambda: is_refused(closed, tokens["access_token"]))
    assert (await refresh(closed, tokens["refresh_token"])).json() == ENDED
    assert await audited(closed_database, since=began) == {"user.sign_in": 1, "user.sign_out": 1}


async def test_a_refresh_token_is_good_once_and_a_copy_ends_the_session(
    closed: httpx.AsyncClient, closed_database: asyncpg.Connection
):
    began = datetime.now(UTC)
    first = await sign_in(closed)
    second = (await refresh(closed, first["refresh_token"])).json()
    assert not await is_refused(closed, second["access_token"])
    stolen = await refresh(closed, first["refresh_token"])
    assert (stolen.status_code, stolen.json()) == (401, ENDED)
    assert (await refresh(closed, second["refresh_token"])).status_code == 401
    for tokens in (first, second):
        await until(lambda tokens=tokens: is_refused(closed, tokens["access_token"]))
    assert (await audited(closed_database, since=began))["user.refresh_token_reused"] == 1


async def test_signing_out_works_with_the_refresh_token_alone(closed: httpx.AsyncClient):
    tokens = await sign_in(closed)
    body = {"refresh_token": tokens["refresh_token"]}
    assert (await closed.post("/api/auth/logout", json=body)).status_code == 204
    assert (await refresh(closed, tokens["refresh_token"])).status_code == 401
    assert (await closed.post("/api/auth/logout", json={"refresh_token": "rsr_unknown"})).status_code == 204
    assert (await closed.post("/api/auth/logout")).status_code == 401


async def test_only_hashes_of_secrets_are_stored(closed: httpx.AsyncClient, closed_database: asyncpg.Connection):
    tokens = await sign_in(closed)
    for table in ("users", "refresh_tokens", "audit_log", "sign_in_attempts"):
        rows = str(await closed_database.fetch(f"select {table}::text from {table}"))
        assert PASSWORD not in rows
        assert tokens["refresh_token"] not in rows
    hashed = await closed_database.fetchval("select password_hash from users where email = $1", ADA)
    assert hashed.startswith("$argon2id$")


async def test_no_answer_tells_who_has_an_account(closed: httpx.AsyncClient, closed_database_url: str):
    settings = Settings(database_url=closed_database_url)
    await add_user(settings, "gone@example.org", "Gone", Role.ADMIN, PASSWORD)
    await set_active(settings, "gone@example.org", False)
    tries = [(ADA, "wrong"), ("nobody@example.org", PASSWORD), ("gone@example.org", PASSWORD), ("x" * 5000, "y" * 5000)]
    tries += [("a\0b@example.org", PASSWORD), (ADA, "a\0b")]
    for email, password in tries:
        answer = await closed.post("/api/auth/login", json={"email": email, "password": password})
        assert (answer.status_code, answer.json()) == (401, WRONG)
        assert answer.headers["www-authenticate"] == 'Bearer realm="Reliability Studio"'


class Counting(PasswordHasher):
    """Compares passwords, and knows how many it has compared."""

    compared = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        """Compare them for real."""
        self.compared += 1
        return super().verify(hash, password)


async def test_no_time_tells_who_has_an_account(database: Database, database_url: str):
    settings = Settings(database_url=database_url)
    await add_user(settings, ADA, "Ada", Role.ADMIN, PASSWORD)
    hasher = Counting()
    lifetimes = Lifetimes(access=timedelta(minutes=1), refresh=timedelta(days=1))
    sessions = Sessions(
        database, Key(HS256, SECRET), Passwords(hasher), lifetimes, Limits(100, 100), now=lambda: datetime.now(UTC)
    )
    async with database.writing(datetime.now(UTC)) as tx:
        await create_user(tx, "without@example.org", "Has no password", actor=anonymous(None, None))
    for number, email in enumerate((ADA, "nobody@example.org", "without@example.org"), start=1):
        with pytest.raises(Unauthenticated, match="The email or the password is wrong"):
            await sessions.sign_in(email, "wrong", asker=anonymous(None, "192.0.2.1"))
        assert hasher.compared == number  # with as much work for those who have none


async def test_who_guesses_has_to_wait_and_keeps_nobody_else_out(database_url: str):
    settings = Settings(database_url=database_url)
    await add_user(settings, ADA, "Ada", Role.VIEWER, PASSWORD)
    await add_user(settings, "eve@example.org", "Eve", Role.VIEWER, PASSWORD)
    closed_settings = {"DATABASE_URL": database_url, "AUTH_ENABLED": "true", "SIGN_IN_ATTEMPTS_PER_ADDRESS": "8"}
    async with ServerProcess(**closed_settings) as server, httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        guess = {"email": ADA, "password": "guess"}
        codes = [(await http.post("/api/auth/login", json=guess)).status_code for _ in range(6)]
        assert codes == [401] * 5 + [429]
        refused = await http.post("/api/auth/login", json={"email": ADA, "password": PASSWORD})
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 300
        await sign_in(http, "eve@example.org")  # the same address may still be somebody else
        connection = await asyncpg.connect(database_url)
        await connection.execute("update sign_in_attempts set since = since - interval '6 minutes'")
        await connection.close()
        await sign_in(http)
        for number in range(8):
            await http.post("/api/auth/login", json={"email": f"{number}@example.org", "password": "guess"})
        refused = await http.post("/api/auth/login", json={"email": "eve@example.org", "password": PASSWORD})
        assert refused.status_code == 429  # an address that tries many names


async def test_a_user_who_is_disabled_is_out_at_once_on_open_sockets_too(
    closed_server: ServerProcess, closed: httpx.AsyncClient, closed_database_url: str
):
    settings = Settings(database_url=closed_database_url)
    await add_user(settings, "bob@example.org", "Bob", Role.RESPONDER, PASSWORD)
    tokens = await sign_in(closed, "bob@example.org")
    stranger = token(sub="7", email="bob@example.org")
    assert not await is_refused(closed, stranger)
    async with connect(closed_server.url, additional_headers=bearer(tokens["access_token"])) as socket:
        assert (await socket.ask("1", "{ viewer { name } }"))["data"]["viewer"]["name"] == "Bob"
    await set_active(settings, "bob@example.org", False)
    await until(lambda: is_refused(closed, tokens["access_token"]))
    await until(lambda: is_refused(closed, stranger))
    assert (await refresh(closed, tokens["refresh_token"])).status_code == 401


async def test_a_token_of_a_deleted_user_is_refused(
    closed: httpx.AsyncClient, closed_database_url: str, closed_database: asyncpg.Connection
):
    await add_user(Settings(database_url=closed_database_url), "zoe@example.org", "Zoe", Role.ADMIN, PASSWORD)
    tokens = await sign_in(closed, "zoe@example.org")
    await closed_database.execute("delete from users where email = 'zoe@example.org'")
    await until(lambda: is_refused(closed, tokens["access_token"]))


async def test_a_session_cannot_be_made_up_by_who_knows_the_secret_alone(closed: httpx.AsyncClient):
    user_id = (await sign_in(closed))["user"]["id"]
    made_up = token(
        SECRET,
        headers={"kid": "reliability-studio"},
        sub=user_id,
        iss="reliability-studio",
        sid="018f0000-0000-7000-8000-000000000000",
    )
    assert (await closed.get("/api/auth/me", headers=bearer(made_up))).json() == ENDED


async def test_a_password_is_changed_by_who_knows_it_and_ends_other_sessions(
    closed: httpx.AsyncClient, closed_database: asyncpg.Connection, closed_database_url: str
):
    began = datetime.now(UTC)
    await add_user(Settings(database_url=closed_database_url), "kim@example.org", "Kim", Role.VIEWER, PASSWORD)
    here, elsewhere = await sign_in(closed, "kim@example.org"), await sign_in(closed, "kim@example.org")
    headers = bearer(here["access_token"])
    change = {"current_password": "wrong", "new_password": "another horse battery"}
    assert (await closed.post("/api/auth/password", json=change, headers=headers)).status_code == 400
    change["current_password"] = PASSWORD
    short = await closed.post("/api/auth/password", json={**change, "new_password": "short"}, headers=headers)
    assert (short.status_code, short.json()) == (400, {"error": "A password has 12 characters or more"})
    assert (await closed.post("/api/auth/password", json=change, headers=headers)).status_code == 204
    await until(lambda: is_refused(closed, elsewhere["access_token"]))
    assert not await is_refused(closed, here["access_token"])
    await sign_in(closed, "kim@example.org", "another horse battery")
    assert (await audited(closed_database, since=began))["user.set_password_failed"] == 1


async def test_the_first_start_adds_one_admin_whose_password_is_shown_once(database_url: str, database: Database):
    settings = {"DATABASE_URL": database_url, "AUTH_ENABLED": "true"}
    async with ServerProcess(**settings) as first:
        pass
    shown = first.complaints.partition("Sign in as admin@localhost with the password ")[2].split()[0]
    assert len(shown) >= 20
    assert all(shown not in str(line) for line in first.log)
    async with ServerProcess(**settings) as second, httpx.AsyncClient(base_url=second.url, timeout=30) as http:
        assert (await sign_in(http, "admin@localhost", shown))["user"]["role"] == "ADMIN"
    assert "password" not in second.complaints


async def test_a_signing_key_outlives_the_server_that_made_it(database_url: str):
    await add_user(Settings(database_url=database_url), ADA, "Ada", Role.VIEWER, PASSWORD)
    settings = {"DATABASE_URL": database_url, "AUTH_ENABLED": "true"}
    async with ServerProcess(**settings) as first, httpx.AsyncClient(base_url=first.url, timeout=30) as http:
        tokens = await sign_in(http)
        assert await is_refused(http, token())  # nobody's tokens are taken where no secret is shared
    async with ServerProcess(**settings) as second, httpx.AsyncClient(base_url=second.url, timeout=30) as http:
        assert not await is_refused(http, tokens["access_token"])


async def test_old_attempts_and_tokens_are_forgotten(database: Database):
    now = datetime.now(UTC)
    assert await database.transact(lambda tx: count_attempt(tx, {b"a": 1}), now=now) == 0
    assert await database.transact(lambda tx: count_attempt(tx, {b"a": 1}), now=now) == 300
    assert await database.transact(lambda tx: forget_sign_ins(tx, most=10), now=now + timedelta(minutes=6)) == 1
