"""From a call to its answer: kept, on its way already, refused by the circuit breaker, or asked for once or more."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import stamina

from domain.health import CircuitState
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
from telemetry_clients.transport.answer import Answer
from telemetry_clients.transport.cache import AnswerCache
from telemetry_clients.transport.call import Call
from telemetry_clients.transport.circuit_breaker import Admission, CircuitBreaker, CircuitOpen
from telemetry_clients.transport.coalescing import Flight, Flights
from telemetry_clients.transport.endpoint import Endpoint
from telemetry_clients.transport.http import HTTPClient
from telemetry_clients.transport.observer import Observer
from telemetry_clients.transport.retries import RETRIED_STATUSES, Retries, RetryBudget, Transient

# The observer hears of retries. stamina would tell of them too: during an outage, each is a line too many.
stamina.instrumentation.set_on_retry_hooks(())

OK = "OK"
NOT_FOUND = "NOT_FOUND"
CANCELLED = "CANCELLED"


class Sender:
    """Sends the calls to one instance of a backend."""

    def __init__(
        self, endpoint: Endpoint, http: HTTPClient, *, observer: Observer, now: Callable[[], datetime]
    ) -> None:
        self._endpoint = endpoint
        self._http = http
        self._observer = observer
        self._now = now
        self._names = (endpoint.backend, endpoint.instance)
        self._connections = asyncio.Semaphore(endpoint.max_connections)
        self._flights = Flights()
        self._budget = RetryBudget(endpoint.retries)
        self._cache = AnswerCache(ttl_seconds=endpoint.cache_ttl_seconds, max_bytes=endpoint.cache_max_bytes)
        self.breaker = CircuitBreaker(
            endpoint.circuit_breaker,
            changed=lambda state, reason: observer.circuit_changed(*self._names, state, reason),
            now=now,
        )

    async def send(self, call: Call, deadline: Deadline, *, is_read: bool, idempotent: bool, cacheable: bool) -> Answer:
        """The answer to a call. Raises TelemetryError."""
        if cacheable and (kept := self._cache.get(call)):
            self._observer.cache_answered(*self._names)
            return kept
        if self._endpoint.timeout_seconds is not None:
            own = Deadline.after(self._endpoint.timeout_seconds)
            deadline = min(deadline, own, key=lambda one: one.at_monotonic_seconds)
        if deadline.expired:
            raise self._error(TelemetryTimeout, "was not asked: the time allowed was used up before.")
        flight = self._flights.find(call) if is_read else None
        if flight is not None:
            self._observer.call_coalesced(*self._names)
        else:
            self._require_capacity()
            flight = self._flights.start(
                lambda flight: self._run(call, flight, idempotent=idempotent), deadline, call if is_read else None
            )
        try:
            answer = await self._flights.answer(flight, deadline)
        except TimeoutError as error:
            raise self._too_late() from error
        if cacheable and answer.succeeded:
            self._cache.put(call, len(call.content or b"") + len(call.path), answer)
        return answer

    def forget(self, answer: Answer) -> None:
        """Answer nobody else with an answer that turned out to be none."""
        self._cache.forget(answer)

    def _require_capacity(self) -> None:
        """Refuse at once what would only wait: for a backend that is gone, or behind too many others."""
        try:
            self.breaker.check()
        except CircuitOpen as refusal:
            self._observer.call_started(*self._names)
            self._observer.call_ended(*self._names, TelemetryUnavailable.code, 0.0)
            raise self._circuit_open(refusal) from refusal
        if self._flights.count >= self._endpoint.max_connections + self._endpoint.max_waiting_calls:
            raise self._error(
                TelemetryLimited,
                f"was not asked: {self._flights.count} calls to it are under way or waiting. Try again later.",
            )

    async def aclose(self) -> None:
        """End the calls that are under way."""
        await self._flights.end()

    async def _run(self, call: Call, flight: Flight, *, idempotent: bool) -> Answer:
        """Make the call, until the flight's scope ends it."""
        outcome = CANCELLED
        began_seconds = time.monotonic()
        self._observer.call_started(*self._names)
        try:
            with flight.scope:
                answer = await self._attempts(call, flight, idempotent=idempotent)
                outcome = _outcome(answer.status)
                return answer
        except TelemetryError as error:
            outcome = error.code
            raise
        else:
            outcome = TelemetryTimeout.code if flight.is_too_late else CANCELLED
            raise self._too_late()
        finally:
            self._observer.call_ended(*self._names, outcome, time.monotonic() - began_seconds)

    async def _attempts(self, call: Call, flight: Flight, *, idempotent: bool) -> Answer:
        self._budget.pay_in()
        retries = Retries(
            self._endpoint.retries,
            self._budget,
            remaining_seconds=flight.remaining_seconds,
            now=self._now,
            may_go_on=lambda: idempotent and flight.waiting > 0 and self.breaker.state is CircuitState.CLOSED,
            retried=lambda: self._observer.call_retried(*self._names),
        )
        try:
            async for attempt in stamina.retry_context(on=retries.pause_seconds, attempts=None, timeout=None):
                with attempt:
                    return await self._attempt(call, flight)
        except Transient as last:
            if isinstance(last.outcome, Answer):
                return last.outcome
            raise last.outcome from last.__cause__
        raise AssertionError("an attempt answers or raises")

    async def _attempt(self, call: Call, flight: Flight) -> Answer:
        """One exchange, as soon as there is a connection. Raises Transient for what may pass, and TelemetryError."""
        async with self._connections:
            try:
                admission = self.breaker.admit()
            except CircuitOpen as refusal:
                raise self._circuit_open(refusal) from refusal
            began_seconds = time.monotonic()
            # Who asks for several things gives up all of them when one is refused, as it is during a trial.
            flight.is_trial = self.breaker.state is CircuitState.HALF_OPEN
            try:
                answer = await self._http.exchange(call, remaining_seconds=flight.remaining_seconds())
            except BaseException as error:
                self._judge(admission, error, flight, time.monotonic() - began_seconds)
                raise
            finally:
                flight.is_trial = False
            if answer.status >= 500:
                self.breaker.failed(admission, f"HTTP {answer.status}")
            else:
                self.breaker.served(admission)
            if answer.status in RETRIED_STATUSES:
                raise Transient(answer)
            return answer

    def _judge(self, admission: Admission, error: BaseException, flight: Flight, seconds: float) -> None:
        """Tell the breaker what an exchange without an answer says about the backend."""
        cause = error.outcome if isinstance(error, Transient) else error
        is_fair = seconds >= self._endpoint.circuit_breaker.fair_seconds
        match cause:
            case TelemetryUnavailable() | TelemetryTimeout():
                self.breaker.failed(admission, cause.message)
            case TelemetryError() if not isinstance(cause, TelemetryNotConfigured):
                self.breaker.served(admission)
            case asyncio.CancelledError() if flight.is_too_late and is_fair:
                self.breaker.failed(admission, f"no answer within {seconds:.1f} s")
            case _:
                self.breaker.unknown(admission)

    def _too_late(self) -> TelemetryError:
        return self._error(TelemetryTimeout, "did not answer within the time allowed. Ask for less, or allow more.")

    def _circuit_open(self, refusal: CircuitOpen) -> TelemetryError:
        return self._error(TelemetryUnavailable, f"is left alone. {refusal}.")

    def _error(self, kind: type[TelemetryError], what: str) -> TelemetryError:
        return kind(self._endpoint.backend, f"{self._http.name} {what}")


def _outcome(status: int) -> str:
    """What an answer is counted as: OK, NOT_FOUND, or the code that its status means for most questions."""
    if 200 <= status < 300:
        return OK
    match status:
        case 404:
            return NOT_FOUND
        case 400 | 422:
            return TelemetryBadQuery.code
        case 401 | 403:
            return TelemetryNotConfigured.code
        case 429:
            return TelemetryLimited.code
        case _:
            return TelemetryUnavailable.code if status >= 500 else TelemetryBadResponse.code
