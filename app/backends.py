"""The telemetry backends that are configured."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from pydantic import SecretStr

from app.backend_settings import DEFAULT, Backend, BackendSettings
from app.health import Dependency, loki_dependency, prometheus_dependency, status_dependency, tempo_dependency
from app.settings import Settings
from domain.health import CircuitState
from telemetry_clients.alertmanager import Alertmanager
from telemetry_clients.errors import TelemetryNotConfigured
from telemetry_clients.instances import Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import TLS, Endpoint, Observer, Transport

Client = TypeVar("Client")
Transports = Mapping[Backend, Mapping[str, Transport]]

# How each backend is asked whether it is there.
_QUESTIONS: Mapping[Backend, Callable[[Transport], Dependency]] = {
    Backend.PROMETHEUS: lambda transport: prometheus_dependency(Prometheus(transport)),
    Backend.LOKI: lambda transport: loki_dependency(Loki(transport)),
    Backend.TEMPO: lambda transport: tempo_dependency(Tempo(transport)),
    Backend.PUSHGATEWAY: lambda transport: status_dependency(
        "pushgateway", transport, "/api/v1/status", "data", "build_information", "version"
    ),
    Backend.ALERTMANAGER: lambda transport: status_dependency(
        "alertmanager", transport, "/api/v2/status", "versionInfo", "version"
    ),
}


@dataclass(frozen=True, slots=True)
class Backends:
    """Clients of what is configured, how each is asked whether it is there, and what cannot work as configured."""

    telemetry: Telemetry
    dependencies: tuple[Dependency, ...]
    misconfigured: Mapping[str, TelemetryNotConfigured]


@asynccontextmanager
async def open_backends(
    settings: Settings, observer: Observer | None = None, *, strict: bool = True
) -> AsyncGenerator[Backends]:
    """Clients for the backends that the settings name; connects to nothing yet.

    Raises TelemetryNotConfigured for the first that cannot work as it is configured. Without `strict` these are left
    out, and told.
    """
    async with AsyncExitStack() as stack:
        transports: dict[Backend, dict[str, Transport]] = {}
        misconfigured: dict[str, TelemetryNotConfigured] = {}
        for backend in Backend:
            for name in settings.backends(backend):
                try:
                    transport = await stack.enter_async_context(open_transport(settings, backend, name, observer))
                except TelemetryNotConfigured as error:
                    if strict:
                        raise
                    misconfigured[_shown_name(backend, name)] = error
                    continue
                transports.setdefault(backend, {})[name] = transport
        telemetry = Telemetry(
            prometheus=_instances(transports, Backend.PROMETHEUS, Prometheus),
            tempo=_instances(
                transports,
                Backend.TEMPO,
                partial(Tempo, longest_search_seconds=settings.tempo_longest_search_hours * 3600),
            ),
            loki=_instances(transports, Backend.LOKI, Loki),
            alertmanager=_instances(transports, Backend.ALERTMANAGER, Alertmanager),
        )
        yield Backends(telemetry, _dependencies(transports), misconfigured)


@asynccontextmanager
async def open_transport(
    settings: Settings, backend: Backend, instance: str = DEFAULT, observer: Observer | None = None
) -> AsyncGenerator[Transport]:
    """The way to one instance of a backend, as the settings have it. Raises TelemetryNotConfigured."""
    configured = settings.backends(backend).get(instance)
    if configured is None:
        raise TelemetryNotConfigured(backend.product, f"No {backend.product} is configured. Set {backend.upper()}_URL.")
    endpoint = _endpoint(settings, backend, instance, configured)
    async with Transport(endpoint, observer=observer) as transport:
        yield transport


def _instances(transports: Transports, backend: Backend, client: Callable[[Transport], Client]) -> Instances[Client]:
    ways = transports.get(backend, {})
    return Instances(backend.product, {name: client(transport) for name, transport in ways.items()})


def _dependencies(transports: Transports) -> tuple[Dependency, ...]:
    """How each instance is asked whether it is there."""
    return tuple(
        replace(
            _QUESTIONS[backend](transport),
            name=_shown_name(backend, instance),
            circuit_state=partial(_circuit_state, transport),
        )
        for backend, ways in transports.items()
        for instance, transport in ways.items()
    )


def _shown_name(backend: Backend, instance: str) -> str:
    """The default instances bear the backend's own name."""
    return str(backend) if instance == DEFAULT else f"{backend}/{instance}"


def _circuit_state(transport: Transport) -> CircuitState:
    return transport.circuit_state


def _endpoint(settings: Settings, backend: Backend, instance: str, configured: BackendSettings) -> Endpoint:
    user = configured.username
    password = _secret(configured.password)
    return Endpoint(
        backend=backend.product,
        instance=instance,
        url=configured.url or "",
        basic_auth=None if user is None or password is None else (user, password),
        password_file=None if user is None or configured.password_file is None else (user, configured.password_file),
        bearer_token=_secret(configured.bearer_token),
        bearer_token_file=configured.bearer_token_file,
        headers={name: value.get_secret_value() for name, value in configured.headers.items()},
        tenant=configured.tenant,
        tls=TLS(
            ca_file=configured.tls_ca_file,
            cert_file=configured.tls_cert_file,
            key_file=configured.tls_key_file,
            server_name=configured.tls_server_name,
            insecure_skip_verify=configured.tls_insecure_skip_verify,
        ),
        read_timeout_seconds=settings.operation_timeout_seconds,
        timeout_seconds=configured.timeout_seconds,
        max_connections=configured.max_connections,
        max_response_bytes=configured.max_response_bytes,
        cache_ttl_seconds=settings.telemetry_cache_seconds,
        cache_max_bytes=settings.telemetry_cache_max_bytes,
    )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
