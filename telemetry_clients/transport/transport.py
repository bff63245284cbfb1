"""The way that all calls to one instance of a backend take."""

from collections.abc import Callable
from datetime import datetime
from typing import Self

import orjson

from domain.health import CircuitState
from domain.time import Deadline
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryError,
    TelemetryLimited,
    TelemetryNotConfigured,
    TelemetryUnavailable,
)
from telemetry_clients.transport.answer import Answer
from telemetry_clients.transport.call import FORM, JSON, Call, Parameters, form_content, pairs
from telemetry_clients.transport.circuit_breaker import utc_now
from telemetry_clients.transport.endpoint import Endpoint
from telemetry_clients.transport.http import HTTPClient, WebSocketTarget
from telemetry_clients.transport.observer import Nobody, Observer
from telemetry_clients.transport.retries import retry_after_seconds
from telemetry_clients.transport.sender import Sender


class Transport:
    """HTTP to one instance of a backend. Every call raises TelemetryError or nothing, at its deadline at the latest,
    and leaves no connection busy however it ends.

    Reads are retried, and made once where several ask the same at the same time. Writes are neither, unless the caller
    says that they are `idempotent`. Used as an async context manager, or closed with `aclose`.
    """

    def __init__(
        self, endpoint: Endpoint, *, observer: Observer | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        """Check the endpoint and prepare; connects to nothing. Raises TelemetryNotConfigured."""
        self._http = HTTPClient(endpoint)
        self.backend = endpoint.backend
        self.instance = endpoint.instance
        self.address = self._http.address
        self._now = now
        observer = observer or Nobody()
        self._sender = Sender(endpoint, self._http, observer=observer, now=now)
        observer.opened(self.backend, self.instance)
        if endpoint.tls.insecure_skip_verify:
            observer.warned(
                self.backend,
                self.instance,
                f"The certificate of {self._http.name} is not checked: whoever sits in between can read and change "
                "everything, credentials included. Configure its CA instead.",
            )

    @property
    def circuit_state(self) -> CircuitState:
        """Whether calls pass."""
        return self._sender.breaker.state

    async def get(
        self,
        path: str,
        *,
        parameters: Parameters | None = None,
        accept: str | None = None,
        deadline: Deadline,
        deadline_parameter: str | None = None,
        cacheable: bool = False,
    ) -> Answer:
        """GET `path` below the endpoint's URL.

        `accept` is the media type that is wanted, JSON without one. `deadline_parameter` names the parameter that tells
        the backend how many seconds we will listen. `cacheable` answers may be kept for a moment, where the endpoint
        allows it.
        """
        call = Call(
            method="GET",
            path=path,
            parameters=self._pairs(parameters),
            accept=accept or JSON,
            deadline_parameter=deadline_parameter,
        )
        return await self._sender.send(call, deadline, is_read=True, idempotent=True, cacheable=cacheable)

    async def post(
        self,
        path: str,
        *,
        form: Parameters,
        accept: str | None = None,
        deadline: Deadline,
        deadline_parameter: str | None = None,
        cacheable: bool = False,
    ) -> Answer:
        """POST a form to `path` below the endpoint's URL: for questions, which may be longer than a URL can be.

        As GET otherwise.
        """
        try:
            content = form_content(form)
        except UnicodeEncodeError as error:
            raise self._no_text() from error
        call = Call(
            method="POST",
            path=path,
            content=content,
            content_type=FORM,
            accept=accept or JSON,
            deadline_parameter=deadline_parameter,
        )
        return await self._sender.send(call, deadline, is_read=True, idempotent=True, cacheable=cacheable)

    async def post_json(
        self,
        path: str,
        *,
        body: object,
        parameters: Parameters | None = None,
        deadline: Deadline,
        idempotent: bool = False,
    ) -> Answer:
        """POST a JSON document. Raises TelemetryBadQuery for what JSON cannot say."""
        try:
            content = orjson.dumps(body)
        except (TypeError, ValueError) as error:
            raise TelemetryBadQuery(
                self.backend, f"{self._http.name} was not asked: what would be sent is no JSON ({error})."
            ) from error
        return await self._write("POST", path, content, JSON, parameters, deadline, idempotent)

    async def post_body(
        self,
        path: str,
        *,
        body: bytes,
        content_type: str,
        parameters: Parameters | None = None,
        deadline: Deadline,
        idempotent: bool = False,
    ) -> Answer:
        """POST bytes of a content type."""
        return await self._write("POST", path, body, content_type, parameters, deadline, idempotent)

    async def put(
        self,
        path: str,
        *,
        body: bytes,
        content_type: str,
        parameters: Parameters | None = None,
        deadline: Deadline,
        idempotent: bool = False,
    ) -> Answer:
        """PUT bytes of a content type."""
        return await self._write("PUT", path, body, content_type, parameters, deadline, idempotent)

    async def delete(
        self, path: str, *, parameters: Parameters | None = None, deadline: Deadline, idempotent: bool = False
    ) -> Answer:
        """DELETE `path` below the endpoint's URL."""
        return await self._write("DELETE", path, None, None, parameters, deadline, idempotent)

    def websocket_target(self, path: str, parameters: Parameters | None = None) -> WebSocketTarget:
        """What a WebSocket to `path` below the endpoint's URL needs: URL, credentials and TLS as for calls."""
        return self._http.websocket_target(path, self._pairs(parameters))

    def decode(self, answer: Answer, loads: Callable[[bytes], object] = orjson.loads) -> object:
        """The answer's JSON. Raises TelemetryBadResponse, for example for a proxy's HTML or a document cut short."""
        try:
            return loads(answer.body)
        except orjson.JSONDecodeError as error:
            kind = answer.content_type or "no content type"
            raise TelemetryBadResponse(
                self.backend,
                f"{self._http.name} answered HTTP {answer.status} with {len(answer.body)} bytes ({kind}) that are not "
                "JSON. Check that the URL leads to the backend itself and not to a login page or another server.",
            ) from error

    def forget(self, answer: Answer) -> None:
        """Answer nobody else with this one: it came with a status of success, and holds an error or nonsense."""
        self._sender.forget(answer)

    def refusal(self, answer: Answer, reason: str = "") -> TelemetryError:
        """The error for an answer whose status is not a success. `reason` is what the backend says, for people."""
        said = f"{self._http.name} answered HTTP {answer.status}" + (f": {reason}" if reason else "")
        match answer.status:
            case 401 | 403:
                return TelemetryNotConfigured(
                    self.backend, f"{said}. Check the credentials that are configured for {self.backend}."
                )
            case 404:
                return TelemetryBadResponse(
                    self.backend, f"{said}. Check that the URL is {self.backend}'s, with its path prefix if it has one."
                )
            case 429:
                wait_seconds = retry_after_seconds(answer, self._now())
                when = "" if wait_seconds is None else f", not before {wait_seconds:.0f} s have passed"
                return TelemetryLimited(self.backend, f"{said}. Ask less often{when}, or raise the backend's limits.")
            case status if 300 <= status < 400:
                return TelemetryBadResponse(
                    self.backend, f"{said}, a redirect, as to a login page. Configure the URL where it ends."
                )
            case status if status >= 500:
                return TelemetryUnavailable(self.backend, f"{said}. Try again, or look at the backend's own log.")
            case _:
                return TelemetryBadResponse(self.backend, f"{said}, which its API has no meaning for.")

    def busy_connections(self) -> int:
        """Connections that a call holds now: none when no call is under way."""
        return self._http.busy_connections()

    async def aclose(self) -> None:
        """End the calls that are under way, and close every connection."""
        await self._sender.aclose()
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _write(
        self,
        method: str,
        path: str,
        body: bytes | None,
        content_type: str | None,
        parameters: Parameters | None,
        deadline: Deadline,
        idempotent: bool,
    ) -> Answer:
        pairs = self._pairs(parameters)
        call = Call(method=method, path=path, parameters=pairs, content=body, content_type=content_type)
        return await self._sender.send(call, deadline, is_read=False, idempotent=idempotent, cacheable=False)

    def _pairs(self, parameters: Parameters | None) -> tuple[tuple[str, str], ...]:
        try:
            return pairs(parameters)
        except UnicodeEncodeError as error:
            raise self._no_text() from error

    def _no_text(self) -> TelemetryBadQuery:
        return TelemetryBadQuery(
            self.backend,
            f"{self._http.name} was not asked: the question holds a lone surrogate, which is no character.",
        )
