"""The instances of each backend: most fleets have one, some have one a region, and a service is seen by one of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from domain.telemetry import DEFAULT_INSTANCE
from telemetry_clients.alertmanager import Alertmanager
from telemetry_clients.errors import TelemetryNotConfigured
from telemetry_clients.loki import Loki
from telemetry_clients.loki.selectors import LokiSelectors
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.prometheus.discovery import Discovery
from telemetry_clients.tempo import Tempo

Client = TypeVar("Client")

DEFAULT = DEFAULT_INSTANCE


class Instances(Generic[Client]):
    """The clients of one backend, by the names of its instances. The default is the one that is called so, or else the
    first.
    """

    def __init__(self, backend: str, clients: Mapping[str, Client] | None = None) -> None:
        self.backend = backend
        self._clients = dict(clients or {})

    def __iter__(self) -> Iterator[tuple[str, Client]]:
        return iter(self._clients.items())

    def __bool__(self) -> bool:
        return bool(self._clients)

    def get(self, name: str | None = None) -> Client:
        """The client of one instance, of the default one without a name.

        Raises TelemetryNotConfigured, which says what there is.
        """
        if name is None:
            name = DEFAULT if DEFAULT in self._clients else next(iter(self._clients), DEFAULT)
        if name in self._clients:
            return self._clients[name]
        if not self._clients:
            raise TelemetryNotConfigured(
                self.backend, f"No {self.backend} is configured. Set {self.backend.upper()}_URL."
            )
        known = ", ".join(sorted(self._clients))
        raise TelemetryNotConfigured(
            self.backend, f"No {self.backend} called {name!r} is configured. Configured are: {known}."
        )


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Every telemetry backend that is configured."""

    prometheus: Instances[Prometheus] = field(default_factory=lambda: Instances("Prometheus"))
    tempo: Instances[Tempo] = field(default_factory=lambda: Instances("Tempo"))
    loki: Instances[Loki] = field(default_factory=lambda: Instances("Loki"))
    alertmanager: Instances[Alertmanager] = field(default_factory=lambda: Instances("Alertmanager"))
    _discoveries: dict[str | None, Discovery] = field(default_factory=dict, repr=False)
    _loki_selectors: dict[str | None, LokiSelectors] = field(default_factory=dict, repr=False)

    def discovery(self, instance: str | None = None) -> Discovery:
        """What is known of the services of one Prometheus. Raises TelemetryNotConfigured."""
        prometheus = self.prometheus.get(instance)
        if instance not in self._discoveries:
            self._discoveries[instance] = Discovery(prometheus)
        return self._discoveries[instance]

    def loki_selectors(self, instance: str | None = None) -> LokiSelectors:
        """What is known of the services of one Loki. Raises TelemetryNotConfigured."""
        loki = self.loki.get(instance)
        if instance not in self._loki_selectors:
            self._loki_selectors[instance] = LokiSelectors(loki)
        return self._loki_selectors[instance]
