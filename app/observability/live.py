"""What `/metrics` tells about subscriptions: who is connected, what they got, and how far behind anything is.

Everything is counted on the event loop's thread, so that an addition is enough; what only the database knows is asked
when somebody scrapes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Final

import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from db.database import Database
from db.event_log import BACKLOG_SQL
from feed.hub import Hub
from feed.relay import RelayState

_PREFIX: Final = "reliability_studio_"
_PATIENCE_SECONDS = 1.0


@dataclass(slots=True)
class ConnectionCounts:
    """What happens on the connections of one transport that stay open."""

    open: int = 0
    deliveries: int = 0
    """Frames of subscriptions that were handed to the transport."""
    dropped: int = 0
    """Clients that were sent away because they took nothing."""
    refused: int = 0
    """Connections beyond what an address or a user may hold open."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the database knows: the newest position of the log, and the age of the oldest event that has none yet."""

    position: float = nan
    relay_lag_seconds: float = nan


class LiveMetrics(Collector):
    """The metrics of subscriptions. `relay` is None where other processes relay; `connections` go by transport."""

    def __init__(
        self, database: Database, hub: Hub, relay: RelayState | None, connections: Mapping[str, ConnectionCounts]
    ) -> None:
        self._database = database
        self._hub = hub
        self._relay = relay
        self._connections = connections
        self._backlog = Backlog()

    async def sample(self) -> None:
        """Ask the database. What it does not tell within a second is unknown (NaN), and the reason raised."""
        try:
            text = await self._database.reads.fetch_text(BACKLOG_SQL, (), timeout_seconds=_PATIENCE_SECONDS)
            position, lag_seconds = orjson.loads(text or b"[0, 0]")
            self._backlog = Backlog(position, _at_least_zero(lag_seconds))
        except Exception:
            self._backlog = Backlog()
            raise

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        yield from self._of_connections()
        subscriptions = GaugeMetricFamily(
            _PREFIX + "subscriptions",
            "Open subscriptions: those that are up to date, and those that read the log by themselves until they are.",
            labels=("state",),
        )
        up_to_date = self._hub.up_to_date
        subscriptions.add_metric(("up_to_date",), up_to_date)
        subscriptions.add_metric(("catching_up",), max(0, self._hub.subscribers - up_to_date))
        yield subscriptions
        yield _gauge("streams", "Different things that they ask for, each rendered once.", self._hub.streams)
        yield _gauge("event_log_position", "Newest position of the event log.", self._backlog.position)
        yield _gauge(
            "event_log_reader_lag_events",
            "Events of the log that this process has not read yet.",
            _at_least_zero(self._backlog.position - self._hub.log.position),
        )
        yield _gauge(
            "relay_lag_seconds",
            "Age of the oldest event that the relay, wherever it runs, has given no place in the log yet.",
            self._backlog.relay_lag_seconds,
        )
        if self._relay is not None:
            yield _gauge("relay_leader", "Whether this process relays events.", self._relay.is_leader)
            yield _counter("relay_moved", "Events that this process has moved into the log.", self._relay.moved)
            yield _counter("relay_failures", "How often its relay lost the database.", self._relay.failures)

    def _of_connections(self) -> Iterable[Metric]:
        labels = ("transport",)
        families: tuple[GaugeMetricFamily | CounterMetricFamily, ...] = (
            GaugeMetricFamily(_PREFIX + "connections", "WebSockets and event streams that are open.", labels=labels),
            CounterMetricFamily(_PREFIX + "deliveries", "Frames of subscriptions sent to clients.", labels=labels),
            CounterMetricFamily(
                _PREFIX + "slow_clients_dropped", "Clients sent away because they took nothing.", labels=labels
            ),
            CounterMetricFamily(
                _PREFIX + "connections_refused", "Connections beyond those allowed by address or user.", labels=labels
            ),
        )
        for transport, counts in self._connections.items():
            values = counts.open, counts.deliveries, counts.dropped, counts.refused
            for family, value in zip(families, values, strict=True):
                family.add_metric((transport,), value)
        return families


def _at_least_zero(value: float) -> float:
    """Clocks differ, and what was asked before may be told after; what is unknown stays so."""
    return max(value, 0.0)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, documentation, value=value)


def _counter(name: str, documentation: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, documentation, value=value)
