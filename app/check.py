"""Whether everything that is configured can be reached: what `reliability-studio check` finds."""

from dataclasses import dataclass

from app.asgi import open_database
from app.backend_settings import Backend
from app.backends import open_backends
from app.clock import now
from app.failures import diagnose
from app.health import Dependency, Health, database_dependency
from app.postgres import postgres
from app.security_settings import ANY
from app.settings import Settings
from app.signal_survey import Catalog, SignalFinding, catalog, survey
from db.embedded import EmbeddedPostgresError
from domain.errors import DatabaseUnavailable
from domain.health import ComponentHealth, HealthStatus
from migrations.upgrade import current, head

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


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found, and which golden signals Prometheus has of the services (no more than some)."""

    findings: list[Finding]
    signals: list[SignalFinding]
    services_left_out: int


async def check(settings: Settings) -> Report:
    """Ask the database and each telemetry backend. Only a database that fails is fatal."""
    database, known = await _check_database(settings)
    backends, signals = await _check_backends(settings, known)
    return Report([Finding("settings", True), _authentication(settings), *database, *backends], signals, known.left_out)


def _authentication(settings: Settings) -> Finding:
    """Whether everybody has to prove who they are, and what a careful operator would do about it."""
    if not settings.auth_enabled:
        remark = "It is off: whoever can connect may do everything. Unset AUTH_ENABLED"
        return Finding("authentication", False, remark=remark)
    if settings.jwt_jwks_url is not None and ANY in (settings.jwt_issuer, settings.jwt_audience):
        remark = "Tokens for other programs may let in here as well. Set JWT_ISSUER and JWT_AUDIENCE"
        return Finding("authentication", False, remark=remark)
    return Finding("authentication", True)


async def _check_database(settings: Settings) -> tuple[list[Finding], Catalog]:
    known = Catalog()
    try:
        async with postgres(settings) as found:
            database = await open_database(settings, found.url)
            try:
                [component] = await _ask(database_dependency(database))
                revision = await current(found.url)
                if revision == head():
                    known = await catalog(database)
            finally:
                await database.close()
    except EmbeddedPostgresError as error:
        return [Finding("database", False, remark=str(error), is_fatal=True)], known
    except (DatabaseUnavailable, ValueError) as error:
        remark = diagnose(error) if isinstance(error, DatabaseUnavailable) else str(error)
        return [Finding("database", False, remark=remark, is_fatal=True)], known
    if component.status is HealthStatus.HEALTHY and revision != head():
        return [
            _finding(component, remark=found.description),
            Finding(
                "tables",
                False,
                version=revision or "none",
                remark=f"This version needs revision {head()}. Run: reliability-studio migrate (serve does so)",
            ),
        ], known
    return [_finding(component, remark=found.description), Finding("tables", True, version=revision)], known


async def _check_backends(settings: Settings, known: Catalog) -> tuple[list[Finding], list[SignalFinding]]:
    findings = {
        str(name): Finding(name, None, remark=f"Not configured. To use it, set {name.upper()}_URL")
        for name in Backend
        if not settings.backends(name)
    }
    signals: list[SignalFinding] = []
    async with open_backends(settings, strict=False) as backends:
        for name, error in backends.misconfigured.items():
            findings[name] = Finding(name, False, remark=error.message)
        for component in await _ask(*backends.dependencies):
            findings[component.name] = _finding(component)
        if backends.telemetry.prometheus:
            signals = await survey(backends.telemetry, known)
    return list(findings.values()), signals


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
