"""A backend that fails again and again is left alone, and found again when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from domain.health import CircuitState
from domain.time import Deadline
from telemetry_clients.errors import TelemetryError, TelemetryTimeout, TelemetryUnavailable
from telemetry_clients.transport import CircuitBreakerPolicy, Endpoint, RetryPolicy, Transport
from telemetry_clients.transport.circuit_breaker import CircuitBreaker, CircuitOpen
from tests.telemetry_clients.eventually import eventually
from tests.telemetry_clients.local_server import LocalServer, Request, answering, http_answer, local_server
from tests.telemetry_clients.recording_observer import RecordingObserver

GOOD = http_answer(b"{}")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(GOOD)) as server:
        yield server


def endpoint(server: LocalServer, **policy: float) -> Endpoint:
    return Endpoint(
        backend="Tempo",
        url=server.url,
        retries=ONCE,
        circuit_breaker=CircuitBreakerPolicy(**{"failures": 3, "pause_seconds": 30, "fair_seconds": 0, **policy}),
    )


async def ask(transport: Transport, *, seconds: float = 10) -> int:
    return (await transport.get("/api/echo", deadline=Deadline.after(seconds))).status


async def hang(_: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_after_a_row_of_failures_calls_fail_at_once_and_say_since_when_and_until_when(server):
    server.behaviour = answering(http_answer(b"", status=500))
    observer = RecordingObserver()
    async with Transport(endpoint(server), observer=observer, now=lambda: NOW) as transport:
        assert [await ask(transport) for _ in range(3)] == [500, 500, 500]
        with pytest.raises(TelemetryUnavailable) as raised:
            await ask(transport)
        assert len(server.requests) == 3
        assert transport.circuit_state is CircuitState.OPEN
    assert "It is not asked since 2026-03-01 12:00:00 UTC, after 3 failures in a row (HTTP 500)" in raised.value.message
    assert "The next try is at 12:00:3" in raised.value.message
    assert server.address in raised.value.message
    assert observer.circuit == [CircuitState.OPEN]
    assert observer.outcomes == ["TELEMETRY_UNAVAILABLE"] * 4
    assert observer.count("started") == observer.count("ended") == 4


async def test_timeouts_open_it_as_well(server):
    server.behaviour = hang
    async with Transport(endpoint(server, failures=2)) as transport:
        for _ in range(2):
            with pytest.raises(TelemetryTimeout):
                await ask(transport, seconds=0.1)
        began = time.monotonic()
        with pytest.raises(TelemetryUnavailable, match="no answer within"):
            await ask(transport)
        assert time.monotonic() - began < 8
        assert transport.busy_connections() == 0


async def test_a_call_that_gave_too_little_time_says_nothing_about_the_backend(server):
    server.behaviour = hang
    async with Transport(endpoint(server, failures=1, fair_seconds=5)) as transport:
        with pytest.raises(TelemetryTimeout):
            await ask(transport, seconds=0.05)
        assert transport.circuit_state is CircuitState.CLOSED


async def test_refusals_are_no_failures(server):
    async with Transport(endpoint(server, failures=1)) as transport:
        for status in (400, 401, 404, 422, 429):
            server.behaviour = answering(http_answer(b"", status=status))
            assert await ask(transport) == status
        assert transport.circuit_state is CircuitState.CLOSED


async def test_a_success_in_between_breaks_the_row(server):
    async with Transport(endpoint(server, failures=2)) as transport:
        for _ in range(3):
            server.behaviour = answering(http_answer(b"", status=503))
            await ask(transport)
            server.behaviour = answering(GOOD)
            await ask(transport)
        assert transport.circuit_state is CircuitState.CLOSED


async def test_a_backend_that_is_back_is_asked_again_after_the_pause(server):
    server.behaviour = answering(http_answer(b"", status=502))
    observer = RecordingObserver()
    async with Transport(endpoint(server, failures=1, pause_seconds=0.05), observer=observer) as transport:
        await ask(transport)
        server.behaviour = answering(GOOD)

        async def answers_again() -> bool:
            try:
                return await ask(transport) == 200
            except TelemetryUnavailable:
                return False

        await eventually("the backend is asked again", answers_again)
    assert observer.circuit == [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]


async def test_while_one_call_tries_the_others_are_refused_and_it_goes_on_without_its_caller(server):
    """Who asks several things at once gives up all when one is refused: that must not end the trial each time."""
    server.behaviour = answering(http_answer(b"", status=502))
    async with Transport(endpoint(server, failures=1, pause_seconds=0)) as transport:
        await ask(transport)
        release = asyncio.Event()

        async def wait(_: Request, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(GOOD)

        server.behaviour = wait
        trial = asyncio.create_task(transport.get("/trial", deadline=Deadline.after(60)))

        async def tries() -> bool:
            return len(server.requests) == 2

        await eventually("one call tries", tries)
        with pytest.raises(TelemetryUnavailable, match="One call tries it at this moment"):
            await ask(transport)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        release.set()

        async def closed() -> bool:
            return transport.circuit_state is CircuitState.CLOSED

        await eventually("the trial closes the breaker", closed)
        assert await ask(transport) == 200


async def test_closing_the_transport_ends_a_trial_that_nobody_waits_for(server):
    server.behaviour = answering(http_answer(b"", status=502))
    async with Transport(endpoint(server, failures=1, pause_seconds=0)) as transport:
        await ask(transport)
        server.behaviour = hang
        trial = asyncio.create_task(transport.get("/trial", deadline=Deadline.after(60)))

        async def tries() -> bool:
            return len(server.requests) == 2

        await eventually("one call tries", tries)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        assert transport.busy_connections() == 1
        await transport.aclose()
        assert transport.busy_connections() == 0


async def test_calls_that_wait_for_a_connection_are_refused_as_soon_as_it_opens(server):
    server.behaviour = hang
    one_at_a_time = Endpoint(
        backend="Tempo",
        url=server.url,
        max_connections=1,
        retries=ONCE,
        circuit_breaker=CircuitBreakerPolicy(failures=1, fair_seconds=0),
    )
    async with Transport(one_at_a_time) as transport:
        calls = [
            asyncio.create_task(transport.get(f"/{number}", deadline=Deadline.after(0.2 if number == 0 else 60)))
            for number in range(4)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [outcome.code for outcome in outcomes if isinstance(outcome, TelemetryError)] == [
            "TELEMETRY_TIMEOUT",
            *["TELEMETRY_UNAVAILABLE"] * 3,
        ]
        assert len(server.requests) == 1


def test_each_trial_that_fails_doubles_the_pause_up_to_the_longest():
    seconds = 0.0
    policy = CircuitBreakerPolicy(failures=1, pause_seconds=5, longest_pause_seconds=15)
    breaker = CircuitBreaker(
        policy, changed=lambda *_: None, now=lambda: NOW, monotonic=lambda: seconds, jitter=lambda: 0.0
    )
    pauses = []
    for _ in range(4):
        breaker.failed(breaker.admit(), "HTTP 503")
        began = seconds
        while True:
            try:
                breaker.check()
            except CircuitOpen:
                seconds += 1
            else:
                break
        pauses.append(seconds - began)
    assert pauses == [5, 10, 15, 15]


def test_what_was_asked_before_it_opened_says_nothing_about_the_trial():
    breaker = CircuitBreaker(
        CircuitBreakerPolicy(failures=1, pause_seconds=0), changed=lambda *_: None, jitter=lambda: 0.0
    )
    early, late = breaker.admit(), breaker.admit()
    breaker.failed(late, "HTTP 503")
    trial = breaker.admit()
    breaker.served(early)
    assert breaker.state is CircuitState.HALF_OPEN
    breaker.served(trial)
    assert breaker.state is CircuitState.CLOSED
