"""The telemetry backends that are configured."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from app.health import Dependency, grafana_dependency, loki_dependency, prometheus_dependency
from app.settings import Settings
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport


@dataclass(frozen=True, slots=True)
class Backends:
    """Clients of what is configured, and how each is asked whether it is there."""

    telemetry: Telemetry
    dependencies: tuple[Dependency, ...]


@asynccontextmanager
async def open_backends(settings: Settings) -> AsyncGenerator[Backends]:
    """Clients for the backends that the settings name; connects to nothing yet. Raises TelemetryNotConfigured."""
    async with AsyncExitStack() as stack:
        prometheus: dict[str, Prometheus] = {}
        dependencies = []
        if settings.prometheus_url is not None:
            transport = await stack.enter_async_context(
                Transport(_prometheus_endpoint(settings, settings.prometheus_url))
            )
            prometheus[DEFAULT] = Prometheus(transport)
            dependencies.append(prometheus_dependency(prometheus[DEFAULT]))
        loki: dict[str, Loki] = {}
        if settings.loki_url is not None:
            transport = await stack.enter_async_context(Transport(Endpoint(backend="Loki", url=settings.loki_url)))
            loki[DEFAULT] = Loki(transport)
            dependencies.append(loki_dependency(loki[DEFAULT]))
        if settings.tempo_url is not None:
            transport = await stack.enter_async_context(Transport(Endpoint(backend="Tempo", url=settings.tempo_url)))
            dependencies.append(grafana_dependency("tempo", transport))
        telemetry = Telemetry(Instances("Prometheus", prometheus), Instances("Loki", loki))
        yield Backends(telemetry, tuple(dependencies))


def _prometheus_endpoint(settings: Settings, url: str) -> Endpoint:
    username, password = settings.prometheus_username, settings.prometheus_password
    token = settings.prometheus_bearer_token
    return Endpoint(
        backend="Prometheus",
        url=url,
        basic_auth=(username, password.get_secret_value()) if username is not None and password is not None else None,
        bearer_token=None if token is None else token.get_secret_value(),
        read_timeout_seconds=settings.operation_timeout_seconds,
    )
