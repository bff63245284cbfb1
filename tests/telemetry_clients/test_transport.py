"""Bad days of a backend, each played by a real server on a real socket."""

import ast
import asyncio
import gzip
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.time import Deadline
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryError,
    TelemetryLimited,
    TelemetryNotConfigured,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.bad_days import (
    GOOD,
    break_off,
    drip_headers,
    hang,
    hang_up,
    never_end,
    reset_at_once,
    reset_within_the_body,
    trickle,
)
from tests.telemetry_clients.eventually import eventually
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server

ROOT = Path(__file__).parents[2]
LIMIT = 1024 * 1024


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(GOOD)) as server:
        yield server


@pytest.fixture
async def transport(server) -> AsyncIterator[Transport]:
    async with Transport(Endpoint(backend="Prometheus", url=server.url, max_response_bytes=LIMIT)) as transport:
        yield transport


async def ask(transport: Transport, query: str = "up", *, seconds: float = 5.0) -> object:
    """What a client does: ask, refuse a status that is no success, decode."""
    answer = await transport.post("/api/v1/query", form={"query": query}, deadline=Deadline.after(seconds))
    if not answer.succeeded:
        raise transport.refusal(answer)
    return transport.decode(answer)


# The bad days.


def zipped(body: bytes, *, encoding: str = "gzip") -> bytes:
    return http_answer(body, headers={"Content-Encoding": encoding})


BAD_DAYS = {
    "never answers": (hang, TelemetryTimeout, "did not answer within the time allowed"),
    "one byte a second": (trickle, TelemetryTimeout, "did not answer within the time allowed"),
    "headers that never end": (drip_headers, TelemetryTimeout, "did not answer within the time allowed"),
    "hangs up": (hang_up, TelemetryUnavailable, "closed the connection"),
    "resets": (reset_at_once, TelemetryUnavailable, "closed the connection"),
    "resets within the body": (reset_within_the_body, TelemetryUnavailable, "closed the connection"),
    "breaks off within the body": (break_off, TelemetryBadResponse, "breaks off"),
    "speaks SSH": (answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), TelemetryBadResponse, "does not speak HTTP"),
    "HTML": (answering(http_answer(b"<html>", content_type="text/html")), TelemetryBadResponse, "(text/html)"),
    "JSON cut short": (answering(http_answer(b'{"status":"succ')), TelemetryBadResponse, "not JSON"),
    "nothing": (answering(http_answer(b"")), TelemetryBadResponse, "0 bytes"),
    "deeply nested": (answering(http_answer(b"[" * 100_000)), TelemetryBadResponse, "not JSON"),
    "not UTF-8": (answering(http_answer(b'"\xff\xfe"')), TelemetryBadResponse, "not JSON"),
    "damaged gzip": (answering(zipped(b"not gzip at all")), TelemetryBadResponse, "damaged"),
    "gzip cut short": (answering(zipped(gzip.compress(b"[" + b"1," * 999)[:-12])), TelemetryBadResponse, "damaged"),
    "unknown encoding": (answering(zipped(b"...", encoding="br")), TelemetryBadResponse, "'br'"),
    "too large": (answering(http_answer(b" " * (LIMIT + 1))), TelemetryLimited, f"more than {LIMIT} bytes"),
    "10 GB announced": (
        answering(http_answer(b"", headers={"Content-Length": str(10 * 2**30)})),
        TelemetryLimited,
        f"more than {LIMIT} bytes",
    ),
    "endless": (never_end, TelemetryLimited, f"more than {LIMIT} bytes"),
    "500": (answering(http_answer(b"oops", status=500)), TelemetryUnavailable, "HTTP 500"),
    "502": (answering(http_answer(b"<html>", status=502)), TelemetryUnavailable, "HTTP 502"),
    "503": (answering(http_answer(b"", status=503)), TelemetryUnavailable, "HTTP 503"),
    "429": (answering(http_answer(b"", status=429)), TelemetryLimited, "HTTP 429"),
    "429 until later": (
        answering(http_answer(b"", status=429, headers={"Retry-After": "3600"})),
        TelemetryLimited,
        "not before 3600 s",
    ),
    "401": (answering(http_answer(b"", status=401)), TelemetryNotConfigured, "Check the credentials"),
    "403": (answering(http_answer(b"", status=403)), TelemetryNotConfigured, "Check the credentials"),
    "404": (answering(http_answer(b"", status=404)), TelemetryBadResponse, "path prefix"),
    "418": (answering(http_answer(b"", status=418)), TelemetryBadResponse, "HTTP 418"),
    "login page": (
        answering(http_answer(b"", status=302, headers={"Location": "/login"})),
        TelemetryBadResponse,
        "a redirect",
    ),
}


@pytest.mark.parametrize(("behaviour", "error", "words"), BAD_DAYS.values(), ids=BAD_DAYS)
async def test_a_bad_day_has_its_code_and_words_ends_by_the_deadline_and_leaves_a_working_client(
    server, transport, behaviour, error, words
):
    server.behaviour = behaviour
    allowed_seconds = 0.4 if error is TelemetryTimeout else 10.0
    began = time.monotonic()
    with pytest.raises(error) as raised:
        await ask(transport, seconds=allowed_seconds)
    assert time.monotonic() - began < allowed_seconds + 10
    assert words in raised.value.message
    assert raised.value.backend == "Prometheus"
    assert server.address in raised.value.message
    assert transport.busy_connections() == 0

    server.behaviour = answering(GOOD)
    assert await ask(transport) == {"status": "success", "data": []}
    assert transport.busy_connections() == 0


def test_every_error_says_its_code():
    assert {error.code for error in TelemetryError.__subclasses__()} == {
        "TELEMETRY_UNAVAILABLE",
        "TELEMETRY_TIMEOUT",
        "TELEMETRY_BAD_RESPONSE",
        "TELEMETRY_NOT_CONFIGURED",
        "TELEMETRY_BAD_QUERY",
        "TELEMETRY_LIMITED",
    }


async def test_a_closed_port_is_unavailable_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with Transport(Endpoint(backend="Loki", url=f"http://127.0.0.1:{port}")) as transport:
            with pytest.raises(TelemetryUnavailable, match=rf"Loki at http://127\.0\.0\.1:{port} cannot be reached"):
                await ask(transport)
            assert transport.busy_connections() == 0


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
async def test_a_host_that_does_not_exist_is_unavailable(host):
    endpoint = Endpoint(backend="Prometheus", url=f"http://{host}:9090", connect_timeout_seconds=60)
    async with Transport(endpoint) as transport:
        with pytest.raises(TelemetryUnavailable, match="cannot be reached"):
            await ask(transport, seconds=60)
        assert transport.busy_connections() == 0


async def test_a_plain_server_behind_an_https_url_is_unavailable():
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(b"", status=400))
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with Transport(Endpoint(backend="Prometheus", url=f"https://127.0.0.1:{port}")) as transport:
            with pytest.raises(TelemetryUnavailable, match=r"cannot be reached \(.*SSL"):
                await ask(transport)
            assert transport.busy_connections() == 0


async def test_a_host_that_swallows_connections_times_out_after_the_connect_timeout():
    """A listener whose queue is full takes no more connections and refuses none, as a firewall that drops packets."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        try:
            port = listener.getsockname()[1]
            endpoint = Endpoint(backend="Prometheus", url=f"http://127.0.0.1:{port}", connect_timeout_seconds=0.2)
            async with Transport(endpoint) as transport:
                with pytest.raises(TelemetryTimeout, match=r"accepted no connection within 0\.2 s"):
                    await ask(transport, seconds=30)
                assert transport.busy_connections() == 0
        finally:
            for filler in fillers:
                filler.close()


async def test_silence_longer_than_the_read_timeout_ends_the_call_before_its_deadline(server):
    server.behaviour = hang
    endpoint = Endpoint(backend="Prometheus", url=server.url, read_timeout_seconds=0.1)
    async with Transport(endpoint) as transport:
        with pytest.raises(TelemetryTimeout, match=r"fell silent for 0\.1 s"):
            await ask(transport, seconds=30)
        assert transport.busy_connections() == 0


async def test_a_deadline_that_has_passed_asks_nothing(server, transport):
    with pytest.raises(TelemetryTimeout, match="was not asked"):
        await ask(transport, seconds=0)
    assert server.requests == []


async def test_a_gzip_bomb_is_refused_without_unpacking_it(server, transport):
    bomb = gzip.compress(bytes(200 * 1024 * 1024), compresslevel=1)
    server.behaviour = answering(zipped(bomb))
    tracemalloc.start()
    try:
        with pytest.raises(TelemetryLimited, match="more than"):
            await ask(transport)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * LIMIT
    assert transport.busy_connections() == 0


async def test_an_answer_of_exactly_the_allowed_size_is_taken_plain_and_zipped(server, transport):
    body = b"[" + b" " * (LIMIT - 2) + b"]"
    for answer in (http_answer(body), zipped(gzip.compress(body))):
        server.behaviour = answering(answer)
        assert await ask(transport) == []


async def test_a_cancelled_call_frees_its_connection(server, transport):
    server.behaviour = hang
    call = asyncio.create_task(ask(transport, seconds=60))

    async def asked() -> bool:
        return len(server.requests) == 1

    await eventually("the server is asked", asked)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert transport.busy_connections() == 0


@pytest.mark.parametrize("connected", [False, True], ids=["on a new connection", "on a kept connection"])
async def test_a_call_cancelled_at_any_of_its_steps_frees_its_connection(server, connected):
    """The steps are those of the event loop: the call is cancelled after one, after two, until it is through."""
    for steps in range(1000):
        async with Transport(Endpoint(backend="Prometheus", url=server.url, max_connections=1)) as transport:
            if connected:
                await ask(transport)
            call = asyncio.create_task(ask(transport))
            waiting = asyncio.create_task(ask(transport, "another"))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            outcome, _ = await asyncio.gather(call, waiting, return_exceptions=True)
            assert transport.busy_connections() == 0, f"cancelled after {steps} steps"
            assert waiting.exception() is None
            if not isinstance(outcome, asyncio.CancelledError):
                return
    pytest.fail("the call was never through")


async def test_calls_beyond_the_connections_wait_and_beyond_the_queue_are_refused(server):
    server.behaviour = hang
    endpoint = Endpoint(backend="Prometheus", url=server.url, max_connections=2, max_waiting_calls=1)
    async with Transport(endpoint) as transport:
        calls = [asyncio.create_task(ask(transport, query, seconds=0.5)) for query in "abc"]

        async def both_connections_are_taken() -> bool:
            return len(server.requests) == 2

        await eventually("both connections are taken", both_connections_are_taken)
        with pytest.raises(TelemetryLimited, match="3 calls to it are under way or waiting"):
            await ask(transport)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TelemetryTimeout] * 3
        assert len(server.requests) == 2
        assert transport.busy_connections() == 0
        server.behaviour = answering(GOOD)
        assert await ask(transport) == {"status": "success", "data": []}


async def test_calls_share_a_connection_and_closing_the_transport_closes_it(server, transport):
    for _ in range(3):
        await ask(transport)
    assert server.open_connections == 1
    await transport.aclose()

    async def nobody_is_connected() -> bool:
        return server.open_connections == 0

    await eventually("the connection is closed", nobody_is_connected)


async def test_a_restarted_server_is_asked_over_a_new_connection(server, transport):
    await ask(transport)
    for conversation in list(server.conversations):
        conversation.cancel()

    async def nobody_is_connected() -> bool:
        return server.open_connections == 0

    await eventually("the server dropped its connections", nobody_is_connected)
    assert await ask(transport) == {"status": "success", "data": []}


async def test_the_path_prefix_the_form_and_the_headers_reach_the_server(server):
    endpoint = Endpoint(backend="Prometheus", url=server.url + "/team/metrics/", headers={"X-Scope-OrgID": "shop"})
    async with Transport(endpoint) as transport:
        await ask(transport)
        await transport.get("/api/v1/labels", parameters={"match[]": ["a", "b"]}, deadline=Deadline.after(5))
    query, labels = server.requests
    assert (query.method, query.path, query.parameters) == ("POST", "/team/metrics/api/v1/query", {"query": ["up"]})
    assert query.headers["x-scope-orgid"] == "shop"
    assert query.headers["user-agent"] == "reliability-studio"
    assert (labels.method, labels.path) == ("GET", "/team/metrics/api/v1/labels")
    assert labels.parameters == {"match[]": ["a", "b"]}


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({"basic_auth": ("ops", "s3cret")}, "Basic b3BzOnMzY3JldA=="),
        ({"bearer_token": "s3cret"}, "Bearer s3cret"),
        ({"userinfo": "ops:s3cret@"}, "Basic b3BzOnMzY3JldA=="),
        ({"userinfo": "ops:s3cr%65t@"}, "Basic b3BzOnMzY3JldA=="),
    ],
)
async def test_credentials_are_sent_to_the_server_and_shown_to_nobody(server, credentials, header):
    server.behaviour = answering(http_answer(b"", status=401))
    url = server.url.replace("http://", "http://" + credentials.pop("userinfo", ""))
    endpoint = Endpoint(backend="Prometheus", url=url, **credentials)
    async with Transport(endpoint) as transport:
        with pytest.raises(TelemetryNotConfigured) as raised:
            await ask(transport)
        assert server.requests[0].headers["authorization"] == header
        for shown in (str(raised.value), repr(raised.value), repr(endpoint), transport.address):
            assert "s3cr" not in shown


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": ""}, "does not start with http"),
        ({"url": "localhost:9090"}, "does not start with http"),
        ({"url": "ftp://user:s3cret@host"}, "does not start with http"),
        ({"url": "http://"}, "does not start with http"),
        ({"url": "http://user:s3cret@"}, "does not start with http"),
        ({"url": "http://host:port"}, "is not a URL"),
        ({"url": "http://user:s3cret/@host"}, "is not a URL"),
        ({"url": "http://host/?token=s3cret"}, "has a query or a fragment"),
        ({"url": "http://host/#graph"}, "has a query or a fragment"),
        ({"url": "http://user:s3cret@host", "bearer_token": "t"}, "More than one credential"),
        ({"url": "http://host", "basic_auth": ("user", "s3cret"), "bearer_token": "t"}, "More than one credential"),
        ({"url": "http://host", "bearer_token": "s3cret\r\nX: y"}, "The header 'Authorization'"),
        ({"url": "http://host", "bearer_token": "s3crét"}, "The header 'Authorization'"),
        ({"url": "http://host", "headers": {"X Y": "z"}}, "The header 'X Y'"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused_before_any_call_and_without_its_secrets(settings, words):
    with pytest.raises(TelemetryNotConfigured) as raised:
        Transport(Endpoint(backend="Prometheus", **settings))
    assert words in raised.value.message
    assert "s3cr" not in raised.value.message


async def test_a_question_that_is_no_unicode_is_a_bad_query_and_asks_nothing(server, transport):
    with pytest.raises(TelemetryBadQuery, match="lone surrogate"):
        await transport.post("/api/v1/query", form={"query": 'up{a="\ud800"}'}, deadline=Deadline.after(5))
    assert server.requests == []
    assert transport.busy_connections() == 0


def test_only_the_transport_knows_the_http_client():
    layers = ["app", "schema", "resolvers", "actions", "feed", "db", "engines", "telemetry_clients", "domain"]
    importing = {
        path.relative_to(ROOT).as_posix()
        for layer in layers
        for path in (ROOT / layer).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "httpx" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "httpx")
    }
    assert importing == {"telemetry_clients/transport/http.py"}
