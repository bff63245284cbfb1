"""Whether what we depend on answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter

from sqlalchemy import text

from db.database import Database
from db.replica import Replica
from domain.errors import DomainError
from domain.health import CircuitState, ComponentHealth, HealthStatus, SystemHealth
from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadResponse, TelemetryError
from telemetry_clients.loki import Loki
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Transport


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that we depend on. `ask` returns its version ("" when unknown), or raises DomainError, TelemetryError,
    Impaired.

    Without an essential one nothing works; without another one, only what comes from it is missing. `circuit_state`
    says whether calls to it pass, where a circuit breaker decides that.
    """

    name: str
    ask: Callable[[Deadline], Awaitable[str]]
    is_essential: bool = False
    circuit_state: Callable[[], CircuitState] | None = None


class Impaired(Exception):
    """Something of our own works, but not as well as it should; `message` says what is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Health:
    """Asks all dependencies at once, each for a limited time, and remembers the answers for a moment.

    However many ask at the same time, each dependency is asked once.
    """

    def __init__(
        self,
        dependencies: Sequence[Dependency],
        *,
        now: Callable[[], datetime],
        timeout_seconds: float = 2.0,
        remembered_seconds: float = 1.0,
    ) -> None:
        self._dependencies = dependencies
        self._now = now
        self._timeout_seconds = timeout_seconds
        self._remembered_seconds = remembered_seconds
        self._asking: asyncio.Task[SystemHealth] | None = None
        self._asked_at_seconds = float("-inf")

    async def report(self) -> SystemHealth:
        """How everything is, at most a moment ago."""
        now_seconds = asyncio.get_running_loop().time()
        asking = self._asking
        if asking is None or (asking.done() and now_seconds - self._asked_at_seconds > self._remembered_seconds):
            asking = self._asking = asyncio.create_task(self._ask_all())
            self._asked_at_seconds = now_seconds
        # Shielded: who stops waiting must not end the asking for the others.
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask_all(self) -> SystemHealth:
        components = tuple(await asyncio.gather(*map(self._ask, self._dependencies)))
        order = list(HealthStatus)
        worst = max((component.status for component in components), key=order.index, default=HealthStatus.HEALTHY)
        return SystemHealth(worst, components)

    async def _ask(self, dependency: Dependency) -> ComponentHealth:
        started = perf_counter()
        error: Exception | None = None
        version = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                version = await dependency.ask(Deadline.after(self._timeout_seconds))
        except TimeoutError as timeout:
            error = timeout
            message = f"It did not answer within {self._timeout_seconds:g} s"
        except (DomainError, TelemetryError, Impaired) as failure:
            error = failure
            message = failure.message
        latency_seconds = perf_counter() - started
        if error is None:
            status = HealthStatus.HEALTHY
        else:
            status = HealthStatus.UNHEALTHY if dependency.is_essential else HealthStatus.DEGRADED
        return ComponentHealth(
            dependency.name,
            status,
            message if error else None,
            version or None,
            latency_seconds,
            self._now(),
            error,
            None if dependency.circuit_state is None else dependency.circuit_state(),
        )


def database_dependency(database: Database) -> Dependency:
    """Postgres, without which nothing works."""

    async def ask(_deadline: Deadline) -> str:
        async with database.reading() as connection:
            return str((await connection.execute(text("show server_version"))).scalar_one())

    return Dependency("database", ask, is_essential=True)


def replica_dependency(replica: Replica) -> Dependency:
    """The read replica, without which the primary answers everything."""

    async def ask(_deadline: Deadline) -> str:
        if not replica.state.is_usable:
            raise Impaired(f"{replica.state.reason}: reads go to the primary")
        return ""

    return Dependency("read-replica", ask)


def prometheus_dependency(prometheus: Prometheus) -> Dependency:
    """Prometheus, by its build information."""

    async def ask(deadline: Deadline) -> str:
        return (await prometheus.build_info(deadline=deadline)).version

    return Dependency("prometheus", ask)


def tempo_dependency(tempo: Tempo) -> Dependency:
    """Tempo, by the readiness that it reports; what it was built from where it says so."""

    async def ask(deadline: Deadline) -> str:
        await tempo.require_ready(deadline=deadline)
        with suppress(TelemetryBadResponse):  # what speaks Tempo's API need not tell what it was built from
            return (await tempo.build_info(deadline=deadline)).version
        return ""

    return Dependency("tempo", ask)


def loki_dependency(loki: Loki) -> Dependency:
    """Loki, by the readiness that it reports and its build information."""

    async def ask(deadline: Deadline) -> str:
        await loki.require_ready(deadline=deadline)
        return (await loki.build_info(deadline=deadline)).version

    return Dependency("loki", ask)


def status_dependency(name: str, transport: Transport, path: str, *version: str) -> Dependency:
    """A backend whose status at `path` says its version, below these names."""

    async def ask(deadline: Deadline) -> str:
        answer = await transport.get(path, deadline=deadline)
        if not answer.succeeded:
            raise transport.refusal(answer)
        found = transport.decode(answer)
        for member in version:
            found = found.get(member) if isinstance(found, dict) else None
        return found if isinstance(found, str) else ""

    return Dependency(name, ask)
