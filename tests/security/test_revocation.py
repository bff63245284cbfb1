"""Rights that are taken away, in a fleet whose servers believe what they have read for an hour."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest

from app.accounts import add_token, add_user, revoke_token, set_active, set_password, set_role
from app.settings import Settings
from domain.access import Role, TokenScope
from tests.http.event_stream import listen
from tests.http.graphql_socket import connect, open_incident, rename
from tests.postgres import TEMPLATE, run_sql
from tests.security.signing import ADA, PASSWORD, SECRET, bearer, token
from tests.servers import ServerProcess
from tests.waiting import until

BOB = "bob@example.org"
AUDIT = {"query": "{ auditLog { totalCount } }"}
WHO = {"query": "{ viewer { name role } }"}
EVENTS = "subscription { events(filter: { types: [INCIDENT_UPDATED] }) { incident { title } } }"


@dataclass
class Fleet:
    """Two servers of one database: what is changed by the `one` has to be known to the `other`."""

    url: str
    one: httpx.AsyncClient
    other: httpx.AsyncClient
    other_url: str

    @property
    def settings(self) -> Settings:
        return Settings(database_url=self.url)

    async def sign_in(self, email: str) -> dict[str, Any]:
        answer = await self.one.post("/api/auth/login", json={"email": email, "password": PASSWORD})
        answer.raise_for_status()
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def is_refused(self, proof: str) -> bool:
        """Whether the other lets nobody in by this proof."""
        return (await self.other.post("/graphql", json=WHO, headers=bearer(proof))).status_code == 401


@pytest.fixture(scope="module")
async def fleet(postgres: Any) -> AsyncIterator[Fleet]:
    await run_sql(postgres.url, f"create database revoking template {TEMPLATE} strategy file_copy")
    url = postgres.url_of("revoking")
    await add_user(Settings(database_url=url), ADA, "Ada", Role.ADMIN, PASSWORD)
    settings = {"DATABASE_URL": url, "AUTH_ENABLED": "true", "JWT_SECRET": SECRET, "RIGHTS_KEPT_SECONDS": "3600"}
    async with (
        ServerProcess(**settings) as one,
        ServerProcess(**settings) as other,
        httpx.AsyncClient(base_url=one.url) as of_one,
        httpx.AsyncClient(base_url=other.url) as of_other,
    ):
        yield Fleet(url, of_one, of_other, other.url)


@pytest.fixture
async def bob(fleet: Fleet) -> AsyncIterator[str]:
    """The address of a responder."""
    await add_user(fleet.settings, BOB, "Bob", Role.RESPONDER, PASSWORD)
    yield BOB
    await run_sql(fleet.url, "delete from users where email = 'bob@example.org'")


async def test_a_token_that_is_revoked_through_one_server_is_refused_by_the_other(fleet: Fleet) -> None:
    ada = bearer((await fleet.sign_in(ADA))["access_token"])
    created = await fleet.one.post(
        "/graphql",
        json={
            "query": 'mutation { createApiToken(input: {name: "ci", scopes: [READ]}) { secret apiToken { id } } }',
        },
        headers=ada,
    )
    made = created.json()["data"]["createApiToken"]
    assert not await fleet.is_refused(made["secret"])

    revoke = {"query": f'mutation {{ revokeApiToken(id: "{made["apiToken"]["id"]}") {{ errors {{ code }} }} }}'}
    assert "errors" not in (await fleet.one.post("/graphql", json=revoke, headers=ada)).json()

    await until(lambda: fleet.is_refused(made["secret"]))


async def test_the_next_event_is_not_told_to_whose_token_was_revoked(fleet: Fleet) -> None:
    """The news of it comes by the connection that the events come by, and before them."""
    id, secret = await add_token(fleet.settings, ADA, "listener", [TokenScope.READ], None)
    async with (
        httpx.AsyncClient(base_url=fleet.one.base_url, headers=bearer(token())) as http,
        httpx.AsyncClient(base_url=fleet.other_url, headers=bearer(secret)) as listener,
        connect(fleet.other_url, additional_headers=bearer(secret)) as socket,
        listen(listener, EVENTS) as stream,
    ):
        incident = await open_incident(http)
        while (await stream.hear()).id is None:
            pass  # It has begun when it says from where.
        await socket.watch("1", incident)
        await rename(http, incident, "Before")
        assert await socket.hear_title("1") == "Before"
        assert (await stream.hear_event()).data["data"]["events"]["incident"]["title"] == "Before"

        await revoke_token(fleet.settings, id)
        await rename(http, incident, "After")

        refused = await socket.hear()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "UNAUTHENTICATED")
        assert (await stream.hear_event()).data["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        await socket.subscribe("2", "{ viewer { name } }")
        assert (await socket.hear())["type"] == "error"


async def test_a_role_that_is_lowered_is_lower_everywhere(fleet: Fleet, bob: str) -> None:
    await set_role(fleet.settings, bob, Role.ADMIN)
    proof = bearer((await fleet.sign_in(bob))["access_token"])
    assert "errors" not in (await fleet.other.post("/graphql", json=AUDIT, headers=proof)).json()
    async with connect(fleet.other_url, additional_headers=proof) as socket:
        assert "errors" not in await socket.ask("1", AUDIT["query"])

        await set_role(fleet.settings, bob, Role.VIEWER)

        async def is_refused() -> bool:
            answer = await fleet.other.post("/graphql", json=AUDIT, headers=proof)
            return "FORBIDDEN" in answer.text

        await until(is_refused)
        assert (await socket.ask("2", AUDIT["query"]))["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def sign_out(fleet: Fleet, tokens: dict[str, Any]) -> None:
    answer = await fleet.one.post("/api/auth/logout", json={"refresh_token": tokens["refresh_token"]})
    answer.raise_for_status()


async def reuse(fleet: Fleet, tokens: dict[str, Any]) -> None:
    for _ in range(2):
        await fleet.one.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})


async def disable(fleet: Fleet, _: dict[str, Any]) -> None:
    await set_active(fleet.settings, BOB, False)


async def change_password(fleet: Fleet, _: dict[str, Any]) -> None:
    await set_password(fleet.settings, BOB, "another horse battery")


async def delete(fleet: Fleet, _: dict[str, Any]) -> None:
    await run_sql(fleet.url, "delete from users where email = 'bob@example.org'")


async def delete_session(fleet: Fleet, _: dict[str, Any]) -> None:
    await run_sql(fleet.url, "delete from refresh_tokens where user_id = (select id from users where name = 'Bob')")


async def lose_the_connection_that_hears_and_disable(fleet: Fleet, _: dict[str, Any]) -> None:
    connection = await asyncpg.connect(fleet.url)
    try:
        # In one transaction: nobody who was cut off can have heard of the rest.
        async with connection.transaction():
            await connection.execute("update users set is_active = false where email = 'bob@example.org'")
            await connection.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "end",
    [sign_out, reuse, disable, change_password, delete, delete_session, lose_the_connection_that_hears_and_disable],
)
async def test_a_session_that_has_ended_has_ended_everywhere(
    fleet: Fleet, bob: str, end: Callable[[Fleet, dict[str, Any]], Awaitable[None]]
) -> None:
    tokens = await fleet.sign_in(bob)
    assert not await fleet.is_refused(tokens["access_token"])

    await end(fleet, tokens)

    await until(lambda: fleet.is_refused(tokens["access_token"]))


async def test_somebody_whom_others_vouch_for_is_out_when_they_are_disabled_here(fleet: Fleet, bob: str) -> None:
    stranger = token(sub="7", email=bob)
    assert not await fleet.is_refused(stranger)

    await set_active(fleet.settings, bob, False)

    await until(lambda: fleet.is_refused(stranger))


async def test_what_gives_nobody_other_rights_is_not_asked_again(fleet: Fleet, bob: str) -> None:
    """To use a token, and to refresh a session, is news to nobody."""
    told: list[Any] = []
    tokens = await fleet.sign_in(bob)
    _, secret = await add_token(fleet.settings, bob, "deploy", [TokenScope.READ], None)
    connection = await asyncpg.connect(fleet.url)
    try:
        await connection.add_listener("rights", lambda *said: told.append(said[-1]))
        assert not await fleet.is_refused(secret)
        assert await connection.fetchval("select count(*) from api_tokens where last_used_at is not null") >= 1
        refreshed = await fleet.one.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert refreshed.status_code == 200
        await connection.execute("delete from refresh_tokens where expires_at <= now()")
        assert told == []
        await revoke_token(fleet.settings, await connection.fetchval("select id from api_tokens where name = 'deploy'"))
        await until(lambda: bool(told))
        assert told == [tokens["user"]["id"]]
    finally:
        await connection.close()
