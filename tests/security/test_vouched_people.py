"""People whom others vouch for: who they are here, and what they may do."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.accounts import add_user, set_role
from app.auth.proofs import Issuer, Proofs
from app.auth.roles import RoleClaim
from app.auth.tokens import HS256, Expectations, Key
from app.settings import Settings
from db.database import Database
from domain.access import Role
from domain.errors import Unauthenticated
from tests.http.graphql_socket import connect
from tests.security.signing import PASSWORD, SECRET, bearer, token
from tests.servers import ServerProcess
from tests.waiting import until

WHO = {"query": "{ viewer { name role user { name } } }"}


async def who(http: httpx.AsyncClient, proof: str) -> Any:
    answer = await http.post("/graphql", json=WHO, headers=bearer(proof))
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["viewer"]


async def test_an_address_that_only_looks_like_somebodys_is_somebody_elses(
    closed: httpx.AsyncClient, closed_database_url: str
):
    await add_user(Settings(database_url=closed_database_url), "mika@example.org", "Mika", Role.ADMIN, PASSWORD)
    same = token(sub="9", email="MIKA@Example.org", role=None)
    assert await who(closed, same) == {"name": "Mika", "role": "ADMIN", "user": {"name": "Mika"}}
    for alike in ("m\u0130ka@example.org", "mi\u212aa@example.org", "mika@example.org\0"):
        other = token(sub="9", email=alike, role=None)
        assert await who(closed, other) == {"name": "Ada", "role": "VIEWER", "user": None}
        guess = {"email": alike, "password": PASSWORD}
        assert (await closed.post("/api/auth/login", json=guess)).status_code == 401


@pytest.mark.parametrize("name", ["N\0", "\ud800", "one\nother", "a\u202eb"])
async def test_a_name_that_cannot_be_told_is_not_taken(closed: httpx.AsyncClient, name: str):
    assert (await who(closed, token(sub="nameless", name=name)))["name"] == "nameless"
    opened = await closed.post(
        "/api/incidents", json={"title": "x", "severity": "low"}, headers=bearer(token(sub="nameless", name=name))
    )
    assert opened.status_code == 201


@pytest.mark.parametrize("subject", ["a\0b", "\ud800", "a\nb"])
async def test_a_subject_that_cannot_be_told_is_refused(closed: httpx.AsyncClient, subject: str):
    answer = await closed.post("/graphql", json=WHO, headers=bearer(token(sub=subject)))
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")


async def test_tokens_of_one_person_that_say_different_roles_are_not_mixed_up(
    closed_server: ServerProcess, closed_database_url: str
):
    await add_user(Settings(database_url=closed_database_url), "lea@example.org", "Lea", Role.RESPONDER, PASSWORD)
    proofs = {role: token(sub="lea", email="lea@example.org", role=role.lower()) for role in ("ADMIN", "VIEWER")}
    async with (
        connect(closed_server.url, additional_headers=bearer(proofs["ADMIN"])) as admin,
        connect(closed_server.url, additional_headers=bearer(proofs["VIEWER"])) as viewer,
    ):
        for _ in range(2):
            assert (await admin.ask("1", "{ viewer { role } }"))["data"]["viewer"] == {"role": "ADMIN"}
            assert (await viewer.ask("1", "{ viewer { role } }"))["data"]["viewer"] == {"role": "VIEWER"}


async def test_a_role_that_is_ours_to_say_is_lower_at_once_on_open_sockets_too(
    closed_server: ServerProcess, closed_database_url: str
):
    settings = Settings(database_url=closed_database_url)
    await add_user(settings, "ola@example.org", "Ola", Role.RESPONDER, PASSWORD)
    proof = token(sub="ola", email="ola@example.org", role=None)
    async with connect(closed_server.url, additional_headers=bearer(proof)) as socket:

        async def has(role: str) -> bool:
            answer = await socket.ask("1", "{ viewer { role } }")
            return bool(answer["data"]["viewer"]["role"] == role)

        assert await has("RESPONDER")
        await set_role(settings, "ola@example.org", Role.VIEWER)
        await until(lambda: has("VIEWER"))


async def test_nobody_makes_an_api_token_that_may_do_more_than_their_sign_in(
    closed: httpx.AsyncClient, closed_database_url: str
):
    await add_user(Settings(database_url=closed_database_url), "pia@example.org", "Pia", Role.ADMIN, PASSWORD)
    create = {"query": 'mutation { createApiToken(input: {name: "ci", scopes: [ADMIN]}) { secret errors { code } } }'}
    outcomes = []
    for role in ("viewer", "responder", "admin"):
        proof = token(sub="pia", email="pia@example.org", role=role)
        made = (await closed.post("/graphql", json=create, headers=bearer(proof))).json()["data"]["createApiToken"]
        outcomes.append((made["secret"] is not None, [error["code"] for error in made["errors"]]))
    assert outcomes == [(False, ["FORBIDDEN"]), (False, ["FORBIDDEN"]), (True, [])]


@pytest.mark.parametrize(("default", "outcome"), [(None, None), (Role.RESPONDER, Role.RESPONDER)])
async def test_who_is_added_has_the_role_of_whoever_has_none_and_is_not_added_where_that_refuses(
    database: Database, default: Role | None, outcome: Role | None
):
    key = Key(HS256, SECRET)
    others = Issuer(Expectations(), RoleClaim("role", default=default), secret=key, create_users=True)
    proofs = Proofs(database, key, others=others, grafana=None, leeway_seconds=10, now=lambda: datetime.now(UTC))
    stranger = token(sub="5", email="new@example.org", role=None)
    if outcome is None:
        with pytest.raises(Unauthenticated, match="no role"):
            await proofs.identity(stranger)
        added = 0
    else:
        identity = await proofs.identity(stranger)
        assert (identity.role, identity.id is not None) == (outcome, True)
        added = 1
    async with database.reading() as connection:
        assert (await connection.exec_driver_sql("select count(*) from users")).scalar_one() == added
