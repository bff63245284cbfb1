"""Whether everything that is configured can be reached: what `reliability-studio check` finds."""

from dataclasses import dataclass

from app.asgi import open_database
from app.backend_settings import Backend
from app.backends import open_backends
from app.clock import now
from app.failures import diagnose
from app.health import Dependency, Health, database_dependency
from app.postgres import postgres
from app.settings import Settings
from db.embedded import EmbeddedPostgresError
from domain.errors import DatabaseUnavailable
from domain.health import ComponentHealth, HealthStatus
from migrations.upgrade import current, head
from telemetry_clients.errors import TelemetryNotConfigured

_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer. `works` is None for what is not configured; `remark` says what to do, if anything."""

    subject: str
    works: bool | None
    version: str | None = None
    latency_seconds: float | None = None
    remark: str = ""
    is_fatal: bool = False


async def check(settings: Settings) -> list[Finding]:
    """Ask the database and each telemetry backend. Only a database that fails is fatal."""
    return [Finding("settings", True), *await _check_database(settings), *await _check_backends(settings)]


async def _check_database(settings: Settings) -> list[Finding]:
    try:
        async with postgres(settings) as found:
            database = await open_database(settings, found.url)
            try:
                [component] = await _ask(database_dependency(database))
            finally:
                await database.close()
            revision = await current(found.url)
    except EmbeddedPostgresError as error:
        return [Finding("database", False, remark=str(error), is_fatal=True)]
    except (DatabaseUnavailable, ValueError) as error:
        remark = diagnose(error) if isinstance(error, DatabaseUnavailable) else str(error)
        return [Finding("database", False, remark=remark, is_fatal=True)]
    if component.status is HealthStatus.HEALTHY and revision != head():
        return [
            _finding(component, remark=found.description),
            Finding(
                "tables",
                False,
                version=revision or "none",
                remark=f"This version needs revision {head()}. Run: reliability-studio migrate (serve does so)",
            ),
        ]
    return [_finding(component, remark=found.description), Finding("tables", True, version=revision)]


async def _check_backends(settings: Settings) -> list[Finding]:
    findings = {
        str(name): Finding(name, None, remark=f"Not configured. To use it, set {name.upper()}_URL")
        for name in Backend
        if not settings.backends(name)
    }
    try:
        async with open_backends(settings) as backends:
            for component in await _ask(*backends.dependencies):
                findings[component.name] = _finding(component)
    except TelemetryNotConfigured as error:
        name = error.backend.lower()
        findings[name] = Finding(name, False, remark=error.message)
    return list(findings.values())


async def _ask(*dependencies: Dependency) -> tuple[ComponentHealth, ...]:
    return (await Health(dependencies, now=now, timeout_seconds=_TIMEOUT_SECONDS).report()).components


def _finding(component: ComponentHealth, remark: str = "") -> Finding:
    if component.error is not None:
        remark = component.message or ""
    if isinstance(component.error, DatabaseUnavailable):
        remark = diagnose(component.error)
    return Finding(
        component.name,
        component.status is HealthStatus.HEALTHY,
        component.version,
        component.latency_seconds,
        remark,
        is_fatal=component.status is HealthStatus.UNHEALTHY,
    )
