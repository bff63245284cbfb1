"""Bad days of every backend in GraphQL: each costs its own fields, ends by the deadline, and keeps no connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import Api
from tests.telemetry_clients.bad_days import break_off, hang, never_end, reset_at_once, trickle
from tests.telemetry_clients.local_server import Behaviour, answering, http_answer, local_server
from tests.waiting import until

RANGE = 'range: { from: "2026-03-01T11:00:00Z", to: "2026-03-01T12:00:00Z" }'
FIELDS = {
    "prometheus": f'prometheus(query: "up", {RANGE}) {{ kind }}',
    "loki": f'loki(query: "{{app=\\"a\\"}}", {RANGE}) {{ streams {{ labels }} }}',
    "tempo": 'tempo(traceId: "abc") { traceId }',
    "traceSearch": f'traceSearch(query: "{{}}", {RANGE}) {{ traceId }}',
    "traceTags": f"traceTags({RANGE}) {{ scope }}",
    "traceTagValues": f'traceTagValues(tag: "name", {RANGE}) {{ value }}',
    "traceMetrics": f'traceMetrics(query: "{{}} | rate()", {RANGE}) {{ stepSeconds }}',
}
CLIENTS: dict[str, Callable[[Transport], Any]] = {"Prometheus": Prometheus, "Loki": Loki, "Tempo": Tempo}
BAD_DAYS = {
    "HTML": (answering(http_answer(b"<html>", content_type="text/html")), "TELEMETRY_BAD_RESPONSE"),
    "a success that says it broke": (
        answering(http_answer(b'{"status":"error","errorType":"internal","error":"it broke"}')),
        "TELEMETRY_BAD_RESPONSE",
    ),
    "JSON cut short": (answering(http_answer(b'{"status":"succ')), "TELEMETRY_BAD_RESPONSE"),
    "a body cut short": (break_off, "TELEMETRY_BAD_RESPONSE"),
    "10 GB": (never_end, "TELEMETRY_LIMITED"),
    "one byte a second": (trickle, "TELEMETRY_TIMEOUT"),
    "silence": (hang, "TELEMETRY_TIMEOUT"),
    "reset": (reset_at_once, "TELEMETRY_UNAVAILABLE"),
    "too many requests": (answering(http_answer(b"", status=429)), "TELEMETRY_LIMITED"),
    "wrong credentials": (answering(http_answer(b"", status=401)), "TELEMETRY_NOT_CONFIGURED"),
}


@dataclass
class Backends:
    """A server that plays all three backends, and the ways to it."""

    server: Any
    transports: list[Transport]

    def behave(self, behaviour: Behaviour) -> None:
        self.server.behaviour = behaviour

    def are_idle(self) -> bool:
        return not any(transport.busy_connections() for transport in self.transports)


@pytest.fixture
async def backends(api: Api) -> AsyncIterator[Backends]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(local_server(hang))
        instances, transports = {}, []
        for backend, client in CLIENTS.items():
            endpoint = Endpoint(backend=backend, url=server.url, max_response_bytes=1_000_000)
            transport = await stack.enter_async_context(Transport(endpoint))
            transports.append(transport)
            instances[backend.lower()] = Instances(backend, {DEFAULT: client(transport)})
        api.telemetry = Telemetry(**instances)
        yield Backends(server, transports)


@pytest.mark.parametrize("day", BAD_DAYS)
async def test_a_bad_day_of_every_backend_costs_their_fields_only(api, backends, day, incident):
    behaviour, code = BAD_DAYS[day]
    backends.behave(behaviour)
    if code == "TELEMETRY_TIMEOUT":
        api.timeout_seconds = 2.0  # nothing else has to be in a hurry, on however slow a machine
    began_seconds = time.monotonic()
    answer = await api("{ incidents { nodes { title } } " + " ".join(FIELDS.values()) + " }")
    assert time.monotonic() - began_seconds < 60, "far from what the backends would have taken"
    assert answer["data"] == {"incidents": {"nodes": [{"title": "Checkout is failing"}]}, **dict.fromkeys(FIELDS)}
    assert {error["path"][0]: error["extensions"]["code"] for error in answer["errors"]} == dict.fromkeys(FIELDS, code)
    await until(backends.are_idle)


async def test_a_success_that_holds_an_error_is_an_error_with_its_words(api, backends):
    said = b'{"status":"error","errorType":"bad_data","error":"1:3: parse error: no such thing"}'
    backends.behave(answering(http_answer(said)))
    answer = await api("{ " + FIELDS["prometheus"] + " }")
    [error] = answer["errors"]
    assert error["extensions"] == {"code": "TELEMETRY_BAD_QUERY", "position": {"line": 1, "column": 3}}
    assert "no such thing" in error["message"]


async def test_what_is_cancelled_with_its_request_leaves_no_connection_busy(api, backends):
    asking = asyncio.create_task(api("{ " + " ".join(FIELDS.values()) + " }"))
    await until(lambda: len(backends.server.requests) >= 3)
    asking.cancel()
    await asyncio.wait([asking])
    await until(backends.are_idle)
