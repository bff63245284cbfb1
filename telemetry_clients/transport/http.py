"""HTTP/1.1 to one endpoint: one exchange after another, each bounded in size. The only module that knows httpx."""

import re
import ssl
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx

from domain import tracing
from domain.tracing import Span, SpanKind, Value
from telemetry_clients.errors import (
    TelemetryBadResponse,
    TelemetryError,
    TelemetryLimited,
    TelemetryNotConfigured,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.transport.answer import Answer
from telemetry_clients.transport.call import Call
from telemetry_clients.transport.credentials import Credentials, without_credentials
from telemetry_clients.transport.endpoint import Endpoint
from telemetry_clients.transport.retries import Transient
from telemetry_clients.transport.tls import tls_context

_CERTIFICATE_REFUSED = re.compile("ALERT_(CERTIFICATE|BAD_CERT|UNSUPPORTED_CERT|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS)")

# Most questions go to the same few paths, and taking a URL apart takes as long as sending it.
_MOST_URLS = 64


@dataclass(frozen=True, slots=True)
class WebSocketTarget:
    """Where a WebSocket to the backend leads, and what its opening handshake needs.

    `ssl` is None for `ws://`. `server_name` is the name to check the certificate for, where it is not the URL's host.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    ssl: ssl.SSLContext | None
    server_name: str | None


class HTTPClient:
    """Exchanges with one endpoint. Leaves no connection busy however an exchange ends, if its task is not cancelled."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Check the endpoint and prepare; connects to nothing. Raises TelemetryNotConfigured."""
        self._endpoint = endpoint
        self.backend = endpoint.backend
        url = _checked_url(endpoint)
        bare_url = url.copy_with(username=None, password=None)
        self.address = str(bare_url).rstrip("/")
        self.name = f"{self.backend} at {self.address}"
        self._credentials = Credentials(endpoint, (url.username, url.password) if url.userinfo else None)
        self._tls = self._tls_context(url)
        self._extensions: dict[str, Any] = {}
        if endpoint.tls.server_name:
            self._extensions["sni_hostname"] = endpoint.tls.server_name
        self._bare_url = bare_url
        self._base_url = bare_url.copy_with(raw_path=bare_url.raw_path.rstrip(b"/") + b"/")
        self._extensions["timeout"] = httpx.Timeout(
            endpoint.read_timeout_seconds, connect=endpoint.connect_timeout_seconds, pool=None
        ).as_dict()
        # A client around it would add redirects, cookies and proxies, none of them wanted here, and half a millisecond.
        self._urls: dict[str, httpx.URL] = {}
        self._connections = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(
                max_connections=None,  # bounded further up: calls that wait inside httpcore can leak their connections
                max_keepalive_connections=endpoint.max_connections,
                keepalive_expiry=30.0,
            ),
            verify=self._tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
        )

    async def exchange(self, call: Call, *, remaining_seconds: float) -> Answer:
        """One request and its whole answer. Raises TelemetryError, or Transient around one that may pass."""
        parameters, content = call.within(remaining_seconds)
        headers = {"Accept": call.accept, "Accept-Encoding": "gzip", **self._credentials.headers()}
        if call.content_type is not None:
            headers["Content-Type"] = call.content_type
        url = self._url(call.path, parameters)
        with self._recorded(call, url) as recorded:
            answer = await self._exchange(call, url, content, headers | _propagation())
            if recorded is not None:
                recorded.set(http__response__status_code=answer.status)
                recorded.error = str(answer.status) if answer.status >= 400 else None
            return answer

    async def _exchange(self, call: Call, url: httpx.URL, content: bytes | None, headers: dict[str, str]) -> Answer:
        request = httpx.Request(call.method, url, content=content, headers=headers, extensions=self._extensions)
        try:
            response = await self._connections.handle_async_request(request)
            try:
                return await self._receive(response, headers)
            finally:
                await response.aclose()
        except (httpx.HTTPError, ssl.SSLError) as error:  # httpcore lets alerts after the handshake through as they are
            raise self._translate(error) from error

    def _recorded(self, call: Call, url: httpx.URL) -> AbstractContextManager[Span | None]:
        if tracing.recording() is None:
            return tracing.span("")
        attributes: dict[str, Value] = {
            "http.request.method": call.method,
            "server.address": url.host,
            "server.port": url.port or (443 if url.scheme == "https" else 80),
            "url.full": str(url.copy_with(query=None)),
            # Not as `peer.service`: service graphs would show each backend as one more service.
            "telemetry.backend": self.backend,
            "telemetry.instance": self._endpoint.instance,
        }
        return tracing.span(f"{call.method} {self.backend}", SpanKind.CLIENT, attributes)

    def websocket_target(self, path: str, parameters: tuple[tuple[str, str], ...]) -> WebSocketTarget:
        """Where a WebSocket to `path` below the endpoint's URL leads. Raises TelemetryNotConfigured."""
        url = self._url(path, parameters)
        target = url.copy_with(scheme="wss" if url.scheme == "https" else "ws")
        server_name = self._endpoint.tls.server_name
        return WebSocketTarget(str(target), self._credentials.headers(), self._tls, server_name)

    def busy_connections(self) -> int:
        """Connections that a call holds or waits for, as opposed to idle ones that are kept for the next."""
        pool = self._connections._pool
        waiting = sum(request.connection is None for request in pool._requests)
        return waiting + sum(not connection.is_idle() for connection in pool.connections)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    async def _receive(self, response: httpx.Response, sent: Mapping[str, str]) -> Answer:
        """The whole body, never holding more of it than is allowed: a small gzip can unpack into gigabytes."""
        limit = self._endpoint.max_response_bytes
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise TelemetryBadResponse(self.backend, f"{self.name} answered in {encoding!r}, which was not asked for.")
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:18]) > limit:
            raise self._too_large(limit)
        gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += gzip.decompress(chunk, limit + 1 - len(body)) if gzip else chunk
                if len(body) > limit:
                    raise self._too_large(limit)
        except (httpx.RemoteProtocolError, zlib.error) as error:
            raise self._cut_short(response.status_code) from error
        if gzip and body and not gzip.eof:
            raise self._cut_short(response.status_code)
        headers = dict(response.headers)
        said = bytes(body) if response.is_success else without_credentials(bytes(body), sent)
        return Answer(response.status_code, headers.get("content-type", ""), said, headers)

    def _url(self, path: str, parameters: tuple[tuple[str, str], ...]) -> httpx.URL:
        url = self._urls.get(path) if path else self._bare_url  # No slash more than was configured.
        if url is None:
            url = self._base_url.copy_with(raw_path=self._base_url.raw_path + path.lstrip("/").encode())
            if len(self._urls) < _MOST_URLS:
                self._urls[path] = url
        return url.copy_merge_params(parameters) if parameters else url

    def _too_large(self, limit: int) -> TelemetryError:
        return TelemetryLimited(
            self.backend,
            f"{self.name} answered with more than {limit} bytes. "
            "Ask for a shorter range, a larger step or fewer series.",
        )

    def _cut_short(self, status: int) -> TelemetryError:
        return TelemetryBadResponse(
            self.backend, f"{self.name} answered HTTP {status} with a body that breaks off or is damaged. Try again."
        )

    def _translate(self, error: httpx.HTTPError | ssl.SSLError) -> TelemetryError | Transient:
        match error:
            case httpx.ConnectTimeout():
                seconds = self._endpoint.connect_timeout_seconds
                return Transient(
                    TelemetryTimeout(
                        self.backend,
                        f"{self.name} accepted no connection within {seconds:g} s. Check host and firewall.",
                    )
                )
            case httpx.TimeoutException():
                seconds = self._endpoint.read_timeout_seconds
                return TelemetryTimeout(self.backend, f"{self.name} fell silent for {seconds:g} s. Try again.")
            case _ if _CERTIFICATE_REFUSED.search(str(error)):
                return TelemetryNotConfigured(
                    self.backend,
                    f"{self.name} refuses to talk TLS with us, as servers do that want another client certificate, or "
                    f"one at all ({error}). Check the certificate and key that are configured for {self.backend}.",
                )
            case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
                return TelemetryUnavailable(
                    self.backend,
                    f"{self.name} cannot be reached ({error}): its certificate is not trusted. "
                    f"Configure the CA that signed it, and the name that it is for, for {self.backend}.",
                )
            case httpx.ConnectError():
                return Transient(
                    TelemetryUnavailable(
                        self.backend, f"{self.name} cannot be reached ({error}). Check the URL and that it is running."
                    )
                )
            case httpx.RemoteProtocolError() if "disconnected" not in str(error):
                return TelemetryBadResponse(self.backend, f"{self.name} does not speak HTTP. Check host and port.")
            case _:
                return Transient(TelemetryUnavailable(self.backend, f"{self.name} closed the connection. Try again."))

    def _tls_context(self, url: httpx.URL) -> ssl.SSLContext | None:
        if url.scheme != "https":
            return None
        return tls_context(self._endpoint, httpx.create_ssl_context(trust_env=False))


def _propagation() -> dict[str, str]:
    """The headers of W3C Trace Context, within a trace."""
    context = tracing.context()
    if context is None:
        return {}
    headers = {"traceparent": context.traceparent}
    return {**headers, "tracestate": context.state} if context.state else headers


def _checked_url(endpoint: Endpoint) -> httpx.URL:
    """The URL as configured. What is wrong with it is said without repeating it, because it may hold a password."""
    try:
        url = httpx.URL(endpoint.url)
    except httpx.InvalidURL as error:
        raise _misconfigured(endpoint, "is not a URL") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _misconfigured(endpoint, "does not start with http:// or https:// and a host")
    if url.query or url.fragment:
        raise _misconfigured(endpoint, "has a query or a fragment")
    return url


def _misconfigured(endpoint: Endpoint, what: str) -> TelemetryNotConfigured:
    return TelemetryNotConfigured(
        endpoint.backend,
        f"The URL configured for {endpoint.backend} {what}. Give it as in http://127.0.0.1:9090.",
    )
