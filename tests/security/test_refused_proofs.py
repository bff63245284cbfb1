"""Guessing tokens: how often an address may be wrong, and that it takes nothing from others at the same address."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from app.accounts import add_token, add_user, revoke_token
from app.settings import Settings
from domain.access import Role, TokenScope
from tests.http.graphql_socket import connect
from tests.postgres import TEMPLATE, run_sql
from tests.security.signing import ADA, PASSWORD, SECRET, bearer, token
from tests.servers import ServerProcess
from tests.waiting import until

MOST = 20
TRY_AGAIN_LATER = 1013
WHO = {"query": "{ viewer { name } }"}


@pytest.fixture(scope="module")
async def url(postgres: Any) -> str:
    await run_sql(postgres.url, f"create database guessing template {TEMPLATE} strategy file_copy")
    found: str = postgres.url_of("guessing")
    await add_user(Settings(database_url=found), ADA, "Ada", Role.ADMIN, PASSWORD)
    return found


@pytest.fixture(scope="module")
async def fleet(url: str) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers that let an address be wrong MOST times, and once more in ten minutes."""
    settings = {
        "DATABASE_URL": url,
        "AUTH_ENABLED": "true",
        "JWT_SECRET": SECRET,
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT_BURST_SECONDS": "3600",
        "RATE_LIMIT_REFUSED": str(MOST / 3600),
        "WEBHOOK_TOKENS": "alertmanager=a-token-of-ours",
    }
    async with ServerProcess(**settings) as one, ServerProcess(**settings) as other:
        yield one, other


@pytest.fixture
async def http(fleet: tuple[ServerProcess, ServerProcess]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fleet[0].url) as client:
        yield client


def at(address: str, proof: dict[str, str] | None = None) -> dict[str, str]:
    """The headers of a request that comes from an address."""
    return {"X-Forwarded-For": address, **(proof or {})}


async def ask(http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await http.post("/graphql", json=WHO, headers=headers)


async def ask_rest(http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await http.get("/api/incidents", headers=headers)


async def ask_stream(http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await http.post("/graphql", json=WHO, headers={**headers, "Accept": "text/event-stream"})


async def post_alert(http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await http.post("/api/webhooks/generic", json={"title": "x"}, headers=headers)


@pytest.mark.parametrize(
    ("ask", "address"),
    [(ask, "192.0.2."), (ask_rest, "192.0.3."), (ask_stream, "192.0.4."), (post_alert, "192.0.5.")],
)
@pytest.mark.parametrize("guess", ["rs_{}", "{}", "eyJhbGciOiJIUzI1NiJ9.e30.{}"], ids=["api token", "word", "jwt"])
async def test_an_address_that_is_wrong_too_often_has_to_wait(
    http: httpx.AsyncClient, ask: Callable[..., Awaitable[httpx.Response]], address: str, guess: str
) -> None:
    place = f"{address}{len(guess)}"  # of its own for each
    statuses = [(await ask(http, at(place, bearer(guess.format(number))))).status_code for number in range(MOST + 3)]
    last = await ask(http, at(place, bearer(guess.format("x"))))

    assert statuses == [401] * MOST + [429] * 3
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) > 1
    assert "RATE_LIMIT_REFUSED" in last.text
    assert (await ask(http, at("198.51.100.1", bearer(guess.format("x"))))).status_code == 401


async def exhaust(http: httpx.AsyncClient, address: str, proof: Callable[[int], dict[str, str] | None]) -> None:
    for number in range(MOST + 100):
        if (await ask(http, at(address, proof(number)))).status_code == 429:
            return
    raise AssertionError("nothing was refused")


async def test_who_has_a_right_proof_at_that_address_is_not_kept_waiting(http: httpx.AsyncClient, url: str) -> None:
    _, secret = await add_token(Settings(database_url=url), ADA, "ci", [TokenScope.READ], None)
    session = (await http.post("/api/auth/login", json={"email": ADA, "password": PASSWORD})).json()["access_token"]
    address = "203.0.113.7"
    assert (await ask(http, at(address, bearer(secret)))).status_code == 200

    await exhaust(http, address, lambda number: bearer(f"rs_{number}"))

    for proof in (secret, session, token(sub="grace"), token(sub="came later")):
        assert (await ask(http, at(address, bearer(proof)))).status_code == 200
    alert = await http.post(
        "/api/webhooks/generic", json={"title": "Disk is full"}, headers=at(address, bearer("a-token-of-ours"))
    )
    assert alert.status_code < 300
    signed_in = await http.post("/api/auth/login", json={"email": ADA, "password": PASSWORD}, headers=at(address))
    assert signed_in.status_code == 200
    assert (await http.get("/api/health", headers=at(address))).status_code == 200


async def test_what_guesses_right_has_to_wait_as_well(http: httpx.AsyncClient, url: str) -> None:
    """Otherwise those who are refused would learn which of their guesses was right."""
    id, secret = await add_token(Settings(database_url=url), ADA, "guessed", [TokenScope.READ], None)
    await exhaust(http, "203.0.113.8", lambda number: bearer(f"rs_{number}"))

    assert (await ask(http, at("203.0.113.8", bearer(secret)))).status_code == 429
    assert (await ask(http, at("203.0.113.9", bearer(secret)))).status_code == 200
    assert (await ask(http, at("203.0.113.8", bearer(secret)))).status_code == 200  # It is no guess any more.
    await revoke_token(Settings(database_url=url), id)

    async def is_refused() -> bool:
        return (await ask(http, at("203.0.113.9", bearer(secret)))).status_code == 401

    await until(is_refused)
    assert (await ask(http, at("203.0.113.8", bearer(secret)))).status_code == 429


async def test_to_come_without_a_proof_counts_where_one_is_needed(http: httpx.AsyncClient) -> None:
    for _ in range(2 * MOST):
        assert (await http.get("/api/health", headers=at("203.0.113.10"))).status_code == 200
        assert (await http.get("/graphql", headers={**at("203.0.113.10"), "Accept": "text/html"})).status_code == 200

    statuses = [(await ask(http, at("203.0.113.10"))).status_code for _ in range(MOST + 1)]
    assert statuses == [401] * MOST + [429]


async def test_all_servers_know_of_it_and_sockets_are_told(
    fleet: tuple[ServerProcess, ServerProcess], http: httpx.AsyncClient
) -> None:
    address = "2001:db8::1"
    await exhaust(http, address, lambda number: bearer(f"{number}"))
    async with httpx.AsyncClient(base_url=fleet[1].url) as other:

        async def has_to_wait() -> bool:
            return (await ask(other, at("2001:db8::2", bearer("rs_x")))).status_code == 429

        await until(has_to_wait)
    async with connect(fleet[0].url, init=False, additional_headers=at(address)) as socket:
        await socket.say({"type": "connection_init", "payload": {"authorization": "Bearer rs_x"}})
        code, reason = await socket.closed()
        assert code == TRY_AGAIN_LATER
        assert reason is not None
        assert "RATE_LIMIT_REFUSED" in reason
