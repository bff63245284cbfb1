"""One service: it answers as its endpoints say, breaks as the faults say, and tells what it does."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.demo_shop.faults import LESSONS, Fault, Faults
from deploy.demo_shop.logs import Journal
from deploy.demo_shop.metrics import ServiceMetrics
from deploy.demo_shop.services import FIRST_VERSION, Call, Endpoint, Service
from deploy.demo_shop.traces import Kind, Span, parent_of

MEMORY_LIMIT_BYTES: Final = 64 * 1024**2
_MEMORY_AT_REST_BYTES: Final = 9 * 1024**2
_LEAK_BYTES: Final = 512 * 1024
_RESTART_SECONDS: Final = 3.0
_SLOW_STATEMENT_SECONDS: Final = 0.5
_BAD_DEPLOY_FAILS: Final = 0.4
_ERROR_BURST_FAILS: Final = 0.6


class Failed(Exception):
    """A request that cannot be answered well: the status, and what the log says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RunningService:
    """A service of the shop. `addresses` are the URLs of all of them, `record` takes finished spans."""

    def __init__(
        self,
        service: Service,
        faults: Faults,
        addresses: Mapping[str, str],
        *,
        http: httpx.AsyncClient,
        journal: Journal,
        record: Callable[[Span], None],
        chance: random.Random,
    ) -> None:
        self.service = service
        self.version = FIRST_VERSION
        self._faults = faults
        self._addresses = addresses
        self._http = http
        self._journal = journal
        self._record = record
        self._chance = chance
        self._leaked: list[bytes] = []
        self._restarts_until = 0.0
        self._metrics = ServiceMetrics(service.name, self.version, MEMORY_LIMIT_BYTES)
        self._metrics.show_memory(_MEMORY_AT_REST_BYTES)

    def application(self) -> Starlette:
        """What answers on its port."""

        async def metrics(request: Request) -> Response:
            content_type, text = self._metrics.exposition(request.headers.get("accept", ""))
            return Response(text, headers={"Content-Type": content_type})

        endpoints = [
            Route(endpoint.path, self._handler(endpoint), methods=[endpoint.method])
            for endpoint in self.service.endpoints
        ]
        return Starlette(routes=[*endpoints, Route("/metrics", metrics)])

    def deploy(self, version: str) -> None:
        """Run another version from now on."""
        self.version = version
        self._metrics.show_version(self.service.name, version)
        self._journal.write(self.service.name, "info", f"version {version} started")

    def _handler(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            trace_id, parent_id = parent_of(request.headers)
            name = f"{endpoint.method} {endpoint.path}"
            span = Span(self.service.name, self.version, name, Kind.SERVER, trace_id, parent_id)
            try:
                await self._work(endpoint, span)
                status = 200 if endpoint.method == "GET" else 201
            except Failed as failure:
                status, span.error = failure.status, str(failure)
                self._journal.write(self.service.name, "error", f"{name} failed: {failure}", span)
            span.end()
            span.attributes |= {
                "http.request.method": endpoint.method,
                "http.route": endpoint.path,
                "http.response.status_code": status,
            }
            self._record(span)
            self._metrics.request(span, endpoint.method, endpoint.path, status)
            if status < 500:
                self._journal.write(self.service.name, "info", f"{name} {status} in {span.seconds * 1000:.0f} ms", span)
            return JSONResponse({"error": span.error} if span.error else {"status": "ok"}, status)

        return handle

    async def _work(self, endpoint: Endpoint, span: Span) -> None:
        """Raises Failed."""
        self._leak()
        await asyncio.sleep(self._chance.lognormvariate(0, 0.3) * endpoint.seconds)
        if endpoint.statement is not None:
            await self._ask_database(endpoint.statement, span)
        if self._breaks(Fault.BAD_DEPLOY, _BAD_DEPLOY_FAILS):
            raise Failed(500, "AttributeError: 'NoneType' object has no attribute 'discount'")
        if self._breaks(Fault.ERROR_BURST, _ERROR_BURST_FAILS):
            raise Failed(503, "the card network answered 503 Service Unavailable")
        for call in endpoint.calls:
            await self._call(call, span)

    def _breaks(self, fault: Fault, ratio: float) -> bool:
        return (
            self.service.name in LESSONS[fault].services and self._faults.is_on(fault) and self._chance.random() < ratio
        )

    def _leak(self) -> None:
        """Grow, and be killed at the limit. Raises Failed while it restarts."""
        now = asyncio.get_running_loop().time()
        if now < self._restarts_until:
            raise Failed(503, "it is being restarted")
        if self._breaks(Fault.MEMORY_LEAK, 1):
            self._leaked.append(bytes(_LEAK_BYTES))
        used = _MEMORY_AT_REST_BYTES + len(self._leaked) * _LEAK_BYTES
        if used > MEMORY_LIMIT_BYTES:
            self._journal.write(self.service.name, "fatal", "OOMKilled: out of memory, restarting")
            self._leaked.clear()
            self._restarts_until = now + _RESTART_SECONDS
            used = _MEMORY_AT_REST_BYTES
        elif self._leaked and not self._faults.is_on(Fault.MEMORY_LEAK):
            self._leaked.clear()  # The next version has no leak.
        self._metrics.show_memory(used)

    async def _ask_database(self, statement: str, span: Span) -> None:
        child = span.child(statement, Kind.CLIENT, db__system__name="postgresql", db__query__summary=statement)
        seconds = self._chance.lognormvariate(0, 0.3) * 0.003
        if self._breaks(Fault.SLOW_DATABASE, 1):
            seconds += self._chance.lognormvariate(0, 0.2) * _SLOW_STATEMENT_SECONDS
        await asyncio.sleep(seconds)
        child.end()
        self._record(child)
        self._metrics.statement(child, statement)

    async def _call(self, call: Call, span: Span) -> None:
        """Raises Failed."""
        child = span.child(call.method, Kind.CLIENT, http__request__method=call.method, server__address=call.service)
        status: int | None = None
        try:
            answer = await self._http.request(
                call.method, self._addresses[call.service] + call.path, headers=child.headers
            )
            status = answer.status_code
            if status >= 500:
                child.error = f"{call.service} answered {status}"
        except httpx.HTTPError as error:
            child.error = f"{call.service} does not answer: {str(error) or type(error).__name__}"
        child.end()
        if status is not None:
            child.attributes["http.response.status_code"] = status
        self._record(child)
        self._metrics.call(child, call.method, call.service, status)
        if child.error:
            raise Failed(502, child.error)
