"""API tokens: what machines show."""

from typing import Any

import asyncpg
import httpx
import pytest

from app.accounts import add_token, add_user
from app.settings import Settings
from domain.access import Role, TokenScope
from tests.security.signing import ADA, PASSWORD, bearer
from tests.servers import ServerProcess, run_command
from tests.waiting import until

CREATE = """mutation($input: CreateApiTokenInput!) {
  createApiToken(input: $input) {
    errors { code message path } secret apiToken { id name scopes expiresAt user { name } }
  }
}"""
REVOKE = "mutation($id: ID!) { revokeApiToken(id: $id) { errors { code } apiToken { revokedAt } } }"
LIST = "{ apiTokens { id name scopes lastUsedAt revokedAt } }"
LIST_ALL = "{ allApiTokens { id name } }"


@pytest.fixture
async def ada(closed: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client that has signed in as ADA."""
    answer = await closed.post("/api/auth/login", json={"email": ADA, "password": PASSWORD})
    closed.headers.update(bearer(answer.json()["access_token"]))
    return closed


async def ask(http: httpx.AsyncClient, query: str, headers: dict[str, str] | None = None, **variables: Any) -> Any:
    answer = await http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_token_acts_as_its_user_until_it_is_revoked(
    ada: httpx.AsyncClient, closed_server: ServerProcess, closed_database: asyncpg.Connection
):
    made = (await ask(ada, CREATE, input={"name": "ci", "scopes": ["READ"], "expiresInDays": 7}))["data"]
    made = made["createApiToken"]
    assert made["errors"] == []
    assert made["secret"].startswith("rs_")
    assert made["apiToken"]["user"] == {"name": "Ada"}
    viewer = "{ viewer { name role scopes } }"
    async with httpx.AsyncClient(base_url=closed_server.url, headers=bearer(made["secret"]), timeout=30) as machine:
        assert (await ask(machine, viewer))["data"]["viewer"] == {
            "name": "Ada (ci)",
            "role": "ADMIN",
            "scopes": ["READ"],
        }
        [shown] = [it for it in (await ask(ada, LIST))["data"]["apiTokens"] if it["name"] == "ci"]
        assert shown["lastUsedAt"] is not None
        assert made["secret"] not in str(await closed_database.fetch("select t::text from api_tokens t"))
        id = made["apiToken"]["id"]
        assert (await ask(ada, REVOKE, id=id))["data"]["revokeApiToken"]["apiToken"]["revokedAt"] is not None

        async def is_out() -> bool:
            return (await machine.post("/graphql", json={"query": viewer})).status_code == 401

        await until(is_out)
    actions = await closed_database.fetch("select action from audit_log where subject_id = $1", id)
    assert {row["action"] for row in actions} == {"api_token.create", "api_token.revoke"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"name": "x", "scopes": []}, "A token needs a scope: say what it is for"),
        ({"name": " ", "scopes": ["READ"]}, "Name is required"),
        ({"name": "x", "scopes": ["READ"], "expiresInDays": 0}, "A token expires in 1 to 3650 days, or never"),
    ],
)
async def test_what_cannot_be_is_refused(ada: httpx.AsyncClient, wanted: dict[str, Any], message: str):
    made = (await ask(ada, CREATE, input=wanted))["data"]["createApiToken"]
    assert [error["message"] for error in made["errors"]] == [message]
    assert made["secret"] is None


async def test_a_token_hands_on_no_more_than_it_has(ada: httpx.AsyncClient, closed_database_url: str):
    settings = Settings(database_url=closed_database_url)
    _, secret = await add_token(settings, ADA, "narrow", [TokenScope.READ, TokenScope.INCIDENTS_WRITE], None)
    made = await ask(ada, CREATE, bearer(secret), input={"name": "wide", "scopes": ["ADMIN"]})
    assert made["data"] is None or made["data"]["createApiToken"]["errors"][0]["code"] == "FORBIDDEN"


async def test_a_token_that_expires_makes_none_that_lasts_longer(ada: httpx.AsyncClient, closed_database_url: str):
    _, secret = await add_token(Settings(database_url=closed_database_url), ADA, "brief", [*TokenScope], 3)

    async def codes(days: int | None) -> list[str]:
        wanted = {"name": "heir", "scopes": ["READ"], "expiresInDays": days}
        made = (await ask(ada, CREATE, bearer(secret), input=wanted))["data"]["createApiToken"]
        return [error["code"] for error in made["errors"]]

    assert [await codes(days) for days in (None, 4, 2)] == [["FORBIDDEN"], ["FORBIDDEN"], []]


async def test_others_tokens_are_nobodys_business_but_admins(ada: httpx.AsyncClient, closed_database_url: str):
    settings = Settings(database_url=closed_database_url)
    await add_user(settings, "viola@example.org", "Viola", Role.VIEWER, PASSWORD)
    mine, _ = await add_token(settings, ADA, "adas own", [TokenScope.READ], None)
    answer = await ada.post("/api/auth/login", json={"email": "viola@example.org", "password": PASSWORD})
    viola = bearer(answer.json()["access_token"])
    assert (await ask(ada, LIST, viola))["data"]["apiTokens"] == []
    assert str(mine) in [it["id"] for it in (await ask(ada, LIST_ALL))["data"]["allApiTokens"]]
    refused = await ask(ada, LIST_ALL, viola)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    revoked = (await ask(ada, REVOKE, viola, id=str(mine)))["data"]["revokeApiToken"]
    assert revoked["errors"] == [{"code": "NOT_FOUND"}]


async def is_refused(http: httpx.AsyncClient, secret: str) -> bool:
    return (await http.get("/api/auth/me", headers=bearer(secret))).status_code == 401


@pytest.mark.parametrize("secret", ["rs_", "rs_unknown", "rs_" + "a" * 4000])
async def test_a_token_that_nobody_made_is_refused(closed: httpx.AsyncClient, secret: str):
    answer = await closed.get("/api/services", headers=bearer(secret))
    assert answer.json() == {"error": "There is no such API token, or it was revoked", "code": "UNAUTHENTICATED"}


async def test_the_command_line_makes_users_and_tokens_that_work(closed: httpx.AsyncClient, closed_database_url: str):
    settings = {"DATABASE_URL": closed_database_url}
    code, password, err = await run_command(
        "user", "create", "cli@example.org", "--role", "responder", settings=settings
    )
    assert code == 0, err
    body = {"email": "cli@example.org", "password": password.strip()}
    assert (await closed.post("/api/auth/login", json=body)).status_code == 200
    made = ("token", "create", "robot", "--user", "cli@example.org", "--scope", "read")
    code, secret, err = await run_command(*made, settings=settings)
    assert code == 0, err
    me = (await closed.get("/api/auth/me", headers=bearer(secret.strip()))).json()
    assert (me["name"], me["role"], me["scopes"]) == ("cli@example.org (robot)", "responder", ["read"])
    code, listed, err = await run_command("token", "list", settings=settings)
    [line] = [line for line in listed.splitlines() if "robot" in line]
    code, _, err = await run_command("token", "revoke", line.split()[0], settings=settings)
    assert code == 0, err
    await until(lambda: is_refused(closed, secret.strip()))
    code, _, err = await run_command("user", "set-password", "nobody@example.org", settings=settings)
    assert (code, "There is no user nobody@example.org" in err) == (1, True)
