"""What is asked again, how often, and when."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from domain.time import Deadline
from telemetry_clients.errors import TelemetryLimited, TelemetryTimeout, TelemetryUnavailable
from telemetry_clients.transport import Answer, CircuitBreakerPolicy, Endpoint, RetryPolicy, Transport
from telemetry_clients.transport.retries import retry_after_seconds
from tests.telemetry_clients.local_server import (
    LocalServer,
    Request,
    answering,
    answering_in_turn,
    http_answer,
    local_server,
    reset,
)
from tests.telemetry_clients.recording_observer import RecordingObserver

GOOD = http_answer(b"{}")
QUICK = RetryPolicy(first_pause_seconds=0.001)
PATIENT = CircuitBreakerPolicy(failures=1000)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(GOOD)) as server:
        yield server


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def transport(server, observer) -> AsyncIterator[Transport]:
    endpoint = Endpoint(backend="Loki", url=server.url, retries=QUICK, circuit_breaker=PATIENT)
    async with Transport(endpoint, observer=observer) as transport:
        yield transport
        assert transport.busy_connections() == 0


Ask = Callable[[Transport], Coroutine[Any, Any, Answer]]

READS: dict[str, Ask] = {
    "GET": lambda transport: transport.get("/labels", deadline=Deadline.after(10)),
    "a question by POST": lambda transport: transport.post("/query", form={"q": "x"}, deadline=Deadline.after(10)),
    "a PUT that its caller calls idempotent": lambda transport: transport.put(
        "/x", body=b"1", content_type="text/plain", deadline=Deadline.after(10), idempotent=True
    ),
}
WRITES: dict[str, Ask] = {
    "JSON": lambda transport: transport.post_json("/silences", body={"a": 1}, deadline=Deadline.after(10)),
    "bytes": lambda transport: transport.post_body(
        "/push", body=b"1", content_type="text/plain", deadline=Deadline.after(10)
    ),
    "PUT": lambda transport: transport.put("/push", body=b"1", content_type="text/plain", deadline=Deadline.after(10)),
    "DELETE": lambda transport: transport.delete("/push", deadline=Deadline.after(10)),
}


@pytest.mark.parametrize("ask", READS.values(), ids=READS)
@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_read_that_is_refused_for_a_moment_is_asked_again(server, transport, observer, ask, status):
    server.behaviour = answering_in_turn(http_answer(b"busy", status=status), GOOD)
    assert (await ask(transport)).status == 200
    assert len(server.requests) == 2
    assert observer.count("retried") == 1
    assert observer.outcomes == ["OK"]


@pytest.mark.parametrize("ask", WRITES.values(), ids=WRITES)
async def test_a_write_is_made_once_whatever_becomes_of_it(server, transport, ask):
    server.behaviour = answering(http_answer(b"busy", status=503))
    assert (await ask(transport)).status == 503
    assert len(server.requests) == 1

    server.behaviour = hang_up
    with pytest.raises(TelemetryUnavailable):
        await ask(transport)
    assert len(server.requests) == 2


async def hang_up(_: Request, writer: asyncio.StreamWriter) -> None:
    reset(writer)


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
async def test_an_answer_that_would_be_the_same_again_is_not_asked_for_again(server, transport, status):
    server.behaviour = answering(http_answer(b"no", status=status))
    assert (await READS["GET"](transport)).status == status
    assert len(server.requests) == 1


async def test_after_three_attempts_the_last_answer_is_the_answer(server, transport):
    server.behaviour = answering(http_answer(b"still down", status=503))
    answer = await READS["GET"](transport)
    assert (answer.status, answer.body) == (503, b"still down")
    assert len(server.requests) == 3


async def test_a_connection_that_is_reset_is_tried_again(server, transport):
    async def reset_once(_: Request, writer: asyncio.StreamWriter) -> None:
        server.behaviour = answering(GOOD)
        reset(writer)

    server.behaviour = reset_once
    assert (await READS["GET"](transport)).status == 200


async def test_a_server_that_starts_meanwhile_is_found():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    slow = RetryPolicy(first_pause_seconds=0.2, attempts=20)
    endpoint = Endpoint(
        backend="Loki", url=f"http://127.0.0.1:{port}", retries=slow, circuit_breaker=CircuitBreakerPolicy(failures=99)
    )
    served = LocalServer(answering(GOOD))
    async with Transport(endpoint) as transport:
        call = asyncio.create_task(transport.get("/labels", deadline=Deadline.after(20)))
        await asyncio.sleep(0)
        async with await asyncio.start_server(served._converse, "127.0.0.1", port):
            assert (await call).status == 200
            await transport.aclose()


@pytest.mark.parametrize(
    "retry_after", ["1", format_datetime(NOW + timedelta(seconds=1), usegmt=True)], ids=["seconds", "date"]
)
async def test_retry_after_is_honoured_in_both_forms(server, observer, retry_after):
    server.behaviour = answering_in_turn(http_answer(b"", status=429, headers={"Retry-After": retry_after}), GOOD)
    endpoint = Endpoint(backend="Loki", url=server.url, retries=QUICK)
    async with Transport(endpoint, observer=observer, now=lambda: NOW) as transport:
        began = time.monotonic()
        assert (await READS["GET"](transport)).status == 200
        assert time.monotonic() - began >= 1


async def test_a_retry_after_beyond_the_deadline_is_told_at_once(server, transport):
    server.behaviour = answering(http_answer(b"", status=429, headers={"Retry-After": "60"}))
    began = time.monotonic()
    answer = await READS["GET"](transport)
    assert time.monotonic() - began < 30
    refusal = transport.refusal(answer)
    assert isinstance(refusal, TelemetryLimited)
    assert "not before 60 s have passed" in refusal.message
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("9" * 400, 999_999_999),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_anything_else_is_nothing(header, seconds):
    assert retry_after_seconds(Answer(429, "", b"", {"retry-after": header}), NOW) == seconds


async def test_no_retry_goes_past_the_deadline(server):
    server.behaviour = answering(http_answer(b"", status=503))
    endless = RetryPolicy(attempts=1000, first_pause_seconds=0.01, budget_reserve=1000, longest_pause_seconds=0.05)
    endpoint = Endpoint(backend="Loki", url=server.url, retries=endless, circuit_breaker=PATIENT)
    async with Transport(endpoint) as transport:
        began = time.monotonic()
        try:
            answer = await transport.get("/labels", deadline=Deadline.after(0.3))
        except TelemetryTimeout:
            pass  # the deadline came within an attempt
        else:
            assert answer.status == 503
        assert time.monotonic() - began < 20
        assert transport.busy_connections() == 0


async def test_an_outage_is_not_multiplied(server, observer):
    """A hundred calls that would each be made three times: the budget allows ten retries and a tenth more."""
    server.behaviour = answering(http_answer(b"", status=503))
    endpoint = Endpoint(backend="Loki", url=server.url, retries=QUICK, circuit_breaker=PATIENT)
    async with Transport(endpoint, observer=observer) as transport:
        for number in range(100):
            await transport.get(f"/{number}", deadline=Deadline.after(10))
    assert 100 < len(server.requests) <= 100 + 10 + 100 * 0.1
    assert observer.count("retried") == len(server.requests) - 100
