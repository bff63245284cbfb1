"""How every telemetry backend is reached: one bounded, deadlined HTTP client. The only module that knows httpx."""

import asyncio
import base64
import contextlib
import re
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import anyio
import httpx
import orjson

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

Parameters = Mapping[str, str | list[str]]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where one backend is, how we prove who we are, and how much of it we use.

    `url` may have a path prefix (`https://metrics.example/prometheus`) and credentials (`https://user:password@...`),
    which become basic authentication. `read_timeout_seconds` is the longest silence within an answer;
    the call's deadline bounds the whole. `max_response_bytes` counts after decompression.
    """

    backend: str
    url: str = field(repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout_seconds: float = 2.0
    read_timeout_seconds: float = 10.0
    max_connections: int = 20
    max_waiting_calls: int = 100
    max_response_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole and decompressed, whatever its status."""

    status: int
    content_type: str
    body: bytes

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class Transport:
    """HTTP to one backend. Every call raises TelemetryError or nothing, and leaves no connection busy however it ends.

    Used as an async context manager, or closed with `aclose`.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Check the endpoint and prepare; connects to nothing. Raises TelemetryNotConfigured."""
        self.backend = endpoint.backend
        self._endpoint = endpoint
        self._under_way = 0
        self._connections = asyncio.Semaphore(endpoint.max_connections)
        url = self._checked_url()
        bare_url = url.copy_with(username=None, password=None)
        self.address = str(bare_url).rstrip("/")
        self._name = f"{self.backend} at {self.address}"
        self._credentials = self._authorization(url)
        self._client = httpx.AsyncClient(
            base_url=bare_url,
            auth=self._basic_auth(url),
            headers=self._headers(),
            timeout=httpx.Timeout(
                endpoint.read_timeout_seconds,
                connect=endpoint.connect_timeout_seconds,
                pool=None,
            ),
            limits=httpx.Limits(
                max_connections=None,  # `_connections` bounds them: calls that wait inside httpcore can leak theirs
                max_keepalive_connections=endpoint.max_connections,
                keepalive_expiry=30.0,
            ),
            follow_redirects=False,
            trust_env=False,  # proxies and .netrc would be configuration behind the settings' back
        )

    async def get(self, path: str, *, parameters: Parameters | None = None, deadline: Deadline) -> Answer:
        """GET `path` below the endpoint's URL."""
        return await self._send("GET", path, deadline, params=parameters)

    async def post(self, path: str, *, form: Parameters, deadline: Deadline) -> Answer:
        """POST a form to `path` below the endpoint's URL: for questions, which may be longer than a URL can be."""
        return await self._send("POST", path, deadline, form=form)

    async def post_json(self, path: str, *, body: object, deadline: Deadline) -> Answer:
        """POST JSON to `path` below the endpoint's URL."""
        return await self._send("POST", path, deadline, json=body)

    def websocket_target(
        self, path: str, parameters: Parameters | None = None
    ) -> tuple[str, Mapping[str, str], ssl.SSLContext | None]:
        """The address, the headers and the TLS settings to open a WebSocket with, below the endpoint's URL."""
        request = self._client.build_request("GET", path, params=parameters)
        scheme = "wss" if request.url.scheme == "https" else "ws"
        headers = {"User-Agent": request.headers["User-Agent"], **self._endpoint.headers}
        if self._credentials is not None:
            headers["Authorization"] = self._credentials
        return (
            str(request.url.copy_with(scheme=scheme)),
            headers,
            ssl.create_default_context() if scheme == "wss" else None,
        )

    def decode(self, answer: Answer) -> object:
        """The answer's JSON. Raises TelemetryBadResponse, for example for a proxy's HTML or a document cut short."""
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            kind = answer.content_type or "no content type"
            raise TelemetryBadResponse(
                self.backend,
                f"{self._name} answered HTTP {answer.status} with {len(answer.body)} bytes ({kind}) that are not JSON. "
                "Check that the URL leads to the backend itself and not to a login page or another server.",
            ) from error

    def refusal(self, answer: Answer, reason: str = "") -> TelemetryError:
        """The error for an answer whose status is not a success. `reason` is what the backend says, for people."""
        said = f"{self._name} answered HTTP {answer.status}" + (f": {reason}" if reason else "")
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
                return TelemetryLimited(self.backend, f"{said}. Ask less often, or raise the backend's limits.")
            case status if 300 <= status < 400:
                return TelemetryBadResponse(
                    self.backend, f"{said}, a redirect, as to a login page. Configure the URL where it ends."
                )
            case status if status >= 500:
                return TelemetryUnavailable(self.backend, f"{said}. Try again, or look at the backend's own log.")
            case _:
                return TelemetryBadResponse(self.backend, f"{said}, which its API has no meaning for.")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        params: Parameters | None = None,
        form: Parameters | None = None,
        json: object = None,
    ) -> Answer:
        if deadline.expired:
            raise TelemetryTimeout(self.backend, f"{self._name} was not asked: the time allowed was used up before.")
        if self._under_way >= self._endpoint.max_connections + self._endpoint.max_waiting_calls:
            raise TelemetryLimited(
                self.backend,
                f"{self._name} was not asked: {self._under_way} calls to it are under way or waiting. Try again later.",
            )
        # httpcore loses a connection when its task is cancelled between two steps of its own bookkeeping. Cancel scopes
        # spare those steps, so each exchange runs in its own task, where nothing but its scope can cancel it.
        scope = anyio.CancelScope(deadline=anyio.current_time() + deadline.remaining_seconds())
        self._under_way += 1
        exchange = asyncio.create_task(self._exchange(scope, method, path, params, form, json))
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            scope.cancel()
            with contextlib.suppress(
                TelemetryError
            ):  # the caller has gone; what matters is that the exchange has ended
                await asyncio.shield(exchange)
            raise
        finally:
            self._under_way -= 1

    async def _exchange(
        self,
        scope: anyio.CancelScope,
        method: str,
        path: str,
        params: Parameters | None,
        form: Parameters | None,
        json: object,
    ) -> Answer:
        """One request and its whole answer, until `scope` ends it."""
        try:
            with scope:
                async with (
                    self._connections,
                    self._client.stream(method, path, params=params, data=form, json=json) as response,
                ):
                    return await self._receive(response)
        except UnicodeEncodeError as error:
            raise TelemetryBadQuery(
                self.backend, f"{self._name} was not asked: the question holds a lone surrogate, which is no character."
            ) from error
        except httpx.HTTPError as error:
            raise self._translate(error) from error
        raise TelemetryTimeout(
            self.backend, f"{self._name} did not answer within the time allowed. Ask for less, or allow more."
        )

    async def _receive(self, response: httpx.Response) -> Answer:
        """The whole body, never holding more of it than is allowed: a small gzip can unpack into gigabytes."""
        limit = self._endpoint.max_response_bytes
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise TelemetryBadResponse(self.backend, f"{self._name} answered in {encoding!r}, which was not asked for.")
        gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += gzip.decompress(chunk, limit + 1 - len(body)) if gzip else chunk
                if len(body) > limit:
                    raise TelemetryLimited(
                        self.backend,
                        f"{self._name} answered with more than {limit} bytes. "
                        "Ask for a shorter range, a larger step or fewer series.",
                    )
        except (httpx.RemoteProtocolError, zlib.error) as error:
            raise self._cut_short(response.status_code) from error
        if gzip and not gzip.eof:
            raise self._cut_short(response.status_code)
        return Answer(response.status_code, response.headers.get("content-type", ""), bytes(body))

    def _cut_short(self, status: int) -> TelemetryError:
        return TelemetryBadResponse(
            self.backend, f"{self._name} answered HTTP {status} with a body that breaks off or is damaged. Try again."
        )

    def _translate(self, error: httpx.HTTPError) -> TelemetryError:
        match error:
            case httpx.ConnectTimeout():
                seconds = self._endpoint.connect_timeout_seconds
                return TelemetryTimeout(
                    self.backend, f"{self._name} accepted no connection within {seconds:g} s. Check host and firewall."
                )
            case httpx.TimeoutException():
                seconds = self._endpoint.read_timeout_seconds
                return TelemetryTimeout(self.backend, f"{self._name} fell silent for {seconds:g} s. Try again.")
            case httpx.ConnectError():
                return TelemetryUnavailable(
                    self.backend, f"{self._name} cannot be reached ({error}). Check the URL and that it is running."
                )
            case httpx.RemoteProtocolError() if "disconnected" not in str(error):
                return TelemetryBadResponse(self.backend, f"{self._name} does not speak HTTP. Check host and port.")
            case _:
                return TelemetryUnavailable(self.backend, f"{self._name} closed the connection. Try again.")

    def _checked_url(self) -> httpx.URL:
        """The URL as configured. What is wrong with it is said without repeating it, because it may hold a password."""
        try:
            url = httpx.URL(self._endpoint.url)
        except httpx.InvalidURL as error:
            raise self._misconfigured("is not a URL") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise self._misconfigured("does not start with http:// or https:// and a host")
        if url.query or url.fragment:
            raise self._misconfigured("has a query or a fragment")
        return url

    def _misconfigured(self, what: str) -> TelemetryNotConfigured:
        return TelemetryNotConfigured(
            self.backend, f"The URL configured for {self.backend} {what}. Give it as in http://127.0.0.1:9090."
        )

    def _authorization(self, url: httpx.URL) -> str | None:
        """The header that proves who we are, for what does not go through the client."""
        if self._endpoint.bearer_token is not None:
            return f"Bearer {self._endpoint.bearer_token}"
        pair = (url.username, url.password) if url.userinfo else self._endpoint.basic_auth
        return None if pair is None else "Basic " + base64.b64encode(":".join(pair).encode()).decode()

    def _basic_auth(self, url: httpx.URL) -> httpx.BasicAuth | None:
        from_url = (url.username, url.password) if url.userinfo else None
        if sum(way is not None for way in (from_url, self._endpoint.basic_auth, self._endpoint.bearer_token)) > 1:
            raise TelemetryNotConfigured(
                self.backend,
                f"More than one credential is configured for {self.backend}. "
                "Keep one of: credentials in the URL, user and password, bearer token.",
            )
        credentials = from_url or self._endpoint.basic_auth
        return httpx.BasicAuth(*credentials) if credentials else None

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "reliability-studio",
            **self._endpoint.headers,
        }
        if self._endpoint.bearer_token is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.bearer_token}"
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise TelemetryNotConfigured(
                    self.backend,
                    f"The header {name!r} configured for {self.backend} cannot be sent. "
                    "Names are letters, digits and hyphens; values are printable ASCII on one line.",
                )
        return headers
