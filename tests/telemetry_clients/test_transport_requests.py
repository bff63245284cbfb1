"""What reaches the backend: bodies, headers, credentials that change, and the trace that a call belongs to."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.time import Deadline
from domain.tracing import Span, SpanContext, SpanKind, Tracer, Within
from telemetry_clients.errors import TelemetryBadQuery, TelemetryNotConfigured, TelemetryTimeout
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server

GOOD = http_answer(b"{}", headers={"X-Trace": "abc", "Retry-After": "5"})


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(GOOD)) as server:
        yield server


@pytest.fixture
async def transport(server) -> AsyncIterator[Transport]:
    async with Transport(Endpoint(backend="Alertmanager", url=server.url + "/am")) as transport:
        yield transport


def soon() -> Deadline:
    return Deadline.after(10)


async def test_each_verb_sends_what_it_is_given(server, transport):
    await transport.post_json("/api/v2/silences", body={"comment": "ü"}, deadline=soon())
    await transport.post_body("/metrics/job/a", body=b"\x00\xff", content_type="text/plain", deadline=soon())
    await transport.put("/metrics/job/a", body=b"up 1\n", content_type="text/plain", deadline=soon())
    await transport.delete("/api/v2/silence/1", parameters={"force": "true"}, deadline=soon())
    await transport.get("/api/traces/1", accept="application/protobuf", deadline=soon())
    sent = [
        (request.method, request.path, request.headers.get("content-type"), request.body) for request in server.requests
    ]
    assert sent == [
        ("POST", "/am/api/v2/silences", "application/json", '{"comment":"ü"}'.encode()),
        ("POST", "/am/metrics/job/a", "text/plain", b"\x00\xff"),
        ("PUT", "/am/metrics/job/a", "text/plain", b"up 1\n"),
        ("DELETE", "/am/api/v2/silence/1", None, b""),
        ("GET", "/am/api/traces/1", None, b""),
    ]
    assert server.requests[3].parameters == {"force": ["true"]}
    assert [request.headers["accept"] for request in server.requests[3:]] == [
        "application/json",
        "application/protobuf",
    ]


async def test_the_answer_brings_its_headers(transport):
    answer = await transport.get("/", deadline=soon())
    assert answer.headers["x-trace"] == "abc"


async def test_what_json_cannot_say_is_a_bad_query(server, transport):
    with pytest.raises(TelemetryBadQuery, match="no JSON"):
        await transport.post_json("/", body={"a": object()}, deadline=soon())
    assert server.requests == []


async def test_the_tenant_and_further_headers_go_with_every_call(server):
    endpoint = Endpoint(backend="Loki", url=server.url, tenant="shop|bank", headers={"X-Env": "prod"})
    async with Transport(endpoint) as transport:
        await transport.get("/", deadline=soon())
    assert server.requests[0].headers["x-scope-orgid"] == "shop|bank"
    assert server.requests[0].headers["x-env"] == "prod"


@pytest.mark.parametrize("kind", ["token", "password"])
async def test_a_secret_in_a_file_is_read_again_when_the_file_changes(server, tmp_path, kind):
    file = tmp_path / "secret"
    file.write_text("first\n")
    endpoint = (
        Endpoint(backend="Loki", url=server.url, bearer_token_file=file)
        if kind == "token"
        else Endpoint(backend="Loki", url=server.url, password_file=("ops", file))
    )
    async with Transport(endpoint) as transport:
        await transport.get("/", deadline=soon())
        (tmp_path / "new").write_text("second")
        os.replace(tmp_path / "new", file)
        await transport.get("/", deadline=soon())
        file.unlink()
        await transport.get("/", deadline=soon())
    sent = [request.headers["authorization"] for request in server.requests]
    expected = {
        "token": ["Bearer first", "Bearer second", "Bearer second"],
        "password": ["Basic b3BzOmZpcnN0", "Basic b3BzOnNlY29uZA==", "Basic b3BzOnNlY29uZA=="],
    }
    assert sent == expected[kind]


async def test_a_new_secret_that_cannot_be_sent_is_told_without_showing_it(server, tmp_path):
    file = tmp_path / "token"
    file.write_text("first")
    async with Transport(Endpoint(backend="Loki", url=server.url, bearer_token_file=file)) as transport:
        file.write_text("hunter2\r\nX: y")
        with pytest.raises(TelemetryNotConfigured) as raised:
            await transport.get("/", deadline=soon())
        assert "hunter2" not in raised.value.message
        assert transport.busy_connections() == 0


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_file_that_holds_nothing_is_refused_at_the_start(tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(TelemetryNotConfigured, match="cannot be read from"):
        Transport(Endpoint(backend="Loki", url="http://loki", bearer_token_file=file))


def test_two_ways_to_prove_who_we_are_exclude_each_other(tmp_path):
    (tmp_path / "token").write_text("t")
    with pytest.raises(TelemetryNotConfigured, match="More than one credential"):
        Transport(
            Endpoint(backend="Loki", url="http://loki", bearer_token="t", bearer_token_file=Path(tmp_path / "token"))
        )


async def test_a_call_never_takes_longer_than_the_endpoint_allows(server):
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    server.behaviour = hang
    endpoint = Endpoint(backend="Loki", url=server.url, timeout_seconds=0.1)
    async with Transport(endpoint) as transport:
        with pytest.raises(TelemetryTimeout):
            await transport.get("/", deadline=Deadline.after(60))
        assert transport.busy_connections() == 0


async def test_a_call_within_a_trace_tells_the_backend_which(server, transport):
    await transport.get("/", deadline=soon())
    assert "traceparent" not in server.requests[0].headers

    context = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, is_sampled=False, state="shop=1")
    with Within(context):
        await transport.get("/", deadline=soon())
    passed_on = server.requests[1].headers
    assert passed_on["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    assert passed_on["tracestate"] == "shop=1"

    recorded: list[Span] = []
    tracer = Tracer(recorded.append, sampler="always_on", ratio=1)
    with tracer.work("test", SpanKind.INTERNAL):
        await transport.get("/", deadline=soon())
    call, test = recorded
    assert server.requests[2].headers["traceparent"] == call.context.traceparent
    assert call.parent == test.context
    assert (call.name, call.kind) == ("GET Alertmanager", SpanKind.CLIENT)
    assert call.attributes["http.response.status_code"] == 200


async def test_a_websocket_without_tls_needs_no_trust(server, transport):
    target = transport.websocket_target("/tail")
    assert target.url == server.url.replace("http://", "ws://") + "/am/tail"
    assert target.ssl is None
    assert target.server_name is None
