"""The instances of each backend: most fleets have one, some have one a region, and a service is seen by one of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from telemetry_clients.errors import TelemetryNotConfigured
from telemetry_clients.prometheus import Prometheus

Client = TypeVar("Client")

DEFAULT = "default"


class Instances(Generic[Client]):
    """The clients of one backend, by the names of its instances. One is called "default"."""

    def __init__(self, backend: str, clients: Mapping[str, Client] | None = None) -> None:
        self.backend = backend
        self._clients = dict(clients or {})

    def __iter__(self) -> Iterator[tuple[str, Client]]:
        return iter(self._clients.items())

    def __bool__(self) -> bool:
        return bool(self._clients)

    def get(self, name: str = DEFAULT) -> Client:
        """The client of one instance. Raises TelemetryNotConfigured, which says what there is."""
        if name in self._clients:
            return self._clients[name]
        if name == DEFAULT:
            raise TelemetryNotConfigured(
                self.backend, f"No {self.backend} is configured. Set {self.backend.upper()}_URL."
            )
        known = ", ".join(sorted(self._clients)) or "none"
        raise TelemetryNotConfigured(
            self.backend, f"No {self.backend} called {name!r} is configured. Configured are: {known}."
        )


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Every telemetry backend that is configured."""

    prometheus: Instances[Prometheus] = field(default_factory=lambda: Instances("Prometheus"))
