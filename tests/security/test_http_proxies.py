"""Who asks, where proxies stand between: only those that are trusted are believed."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import httpx
import pytest

from app.http.forwarding import TrustedProxies
from tests.http.graphql_socket import connect
from tests.servers import ServerProcess
from tests.waiting import until

CLIENT = "203.0.113.7"
TRUSTED = TrustedProxies([ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def seen(peer: str, forwarded_for: str, forwarded_proto: str | None = None) -> tuple[str, str]:
    """The client's address and the scheme that a request counts as."""
    scope = {"type": "http", "client": (peer, 4711), "scheme": "http"}
    proto = {} if forwarded_proto is None else {b"x-forwarded-proto": forwarded_proto.encode()}
    TRUSTED.correct(scope, {b"x-forwarded-for": forwarded_for.encode(), **proto})
    return scope["client"][0], scope["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", CLIENT, CLIENT),
        ("10.0.0.1", f"1.2.3.4, {CLIENT}", CLIENT),  # Whoever wrote the left one wanted to be somebody else.
        ("10.0.0.1", f"{CLIENT}, 10.9.9.9, 127.0.0.1", CLIENT),
        ("10.0.0.1", f"{CLIENT}:56789", CLIENT),
        ("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", CLIENT, CLIENT),
        ("fd00::1", f"::ffff:{CLIENT}", CLIENT),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", f"{CLIENT}, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "'; drop table incidents --", "10.0.0.1"),
        ("192.0.2.1", CLIENT, "192.0.2.1"),  # Not one of ours.
        ("11.0.0.1", "10.0.0.1", "11.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_none_of_our_proxies(peer: str, forwarded_for: str, client: str) -> None:
    assert seen(peer, forwarded_for)[0] == client


@pytest.mark.parametrize(
    ("peer", "forwarded_proto", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, https", "https"),
        ("10.0.0.1", "https, http", "http"),
        ("10.0.0.1", "gopher", "http"),
        ("192.0.2.1", "https", "http"),
    ],
)
def test_the_scheme_is_what_the_nearest_trusted_proxy_says(peer: str, forwarded_proto: str, scheme: str) -> None:
    assert seen(peer, CLIENT, forwarded_proto)[1] == scheme


@pytest.fixture(scope="module")
async def behind_proxy(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server that believes this machine."""
    async with ServerProcess(DATABASE_URL=served_database_url, TRUSTED_PROXIES="127.0.0.0/8, ::1") as running:
        yield running


async def logged_client(server: ServerProcess, request_id: str) -> object:
    def lines() -> list[object]:
        return [entry["client"] for entry in server.log if entry.get("request_id") == request_id]

    await until(lambda: bool(lines()))
    return lines()[0]


async def test_a_trusted_proxy_speaks_for_its_client(behind_proxy: ServerProcess) -> None:
    forwarded = {"X-Forwarded-For": f"6.6.6.6, {CLIENT}", "X-Forwarded-Proto": "https", "X-Request-Id": "proxied"}
    async with httpx.AsyncClient(base_url=behind_proxy.url, headers=forwarded, timeout=30) as client:
        answer = await client.get("/health")

    assert await logged_client(behind_proxy, "proxied") == CLIENT
    assert answer.headers["strict-transport-security"].startswith("max-age=")


async def test_two_headers_count_as_one_list(behind_proxy: ServerProcess) -> None:
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", CLIENT), ("X-Request-Id", "two-headers")]
    async with httpx.AsyncClient(base_url=behind_proxy.url, timeout=30) as client:
        await client.get("/health", headers=headers)

    assert await logged_client(behind_proxy, "two-headers") == CLIENT


async def test_a_socket_counts_for_its_client_too(behind_proxy: ServerProcess) -> None:
    async with connect(behind_proxy.url, additional_headers={"X-Forwarded-For": CLIENT}):
        pass

    def closed() -> bool:
        return any(line["event"] == "socket closed" and line["client"] == CLIENT for line in behind_proxy.log)

    await until(closed)


async def test_without_trusted_proxies_nobody_speaks_for_anybody(server: ServerProcess) -> None:
    forwarded = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https", "Forwarded": f"for={CLIENT};proto=https"}
    async with httpx.AsyncClient(base_url=server.url, headers=forwarded, timeout=30) as client:
        answer = await client.get("/health", headers={"X-Request-Id": "pretender"})

    assert await logged_client(server, "pretender") == "127.0.0.1"
    assert "strict-transport-security" not in answer.headers
