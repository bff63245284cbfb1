"""What `/metrics` tells about the read replica."""

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from db.replica import Replica

_PREFIX: Final = "reliability_studio_read_replica_"


class ReplicaMetrics(Collector):
    """The metrics of one replica, as this process sees it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        state = self._replica.state
        yield GaugeMetricFamily(
            _PREFIX + "usable", "Whether compiled reads go to the read replica.", value=state.is_usable
        )
        yield GaugeMetricFamily(
            _PREFIX + "lag_seconds", "How far it is behind; infinite when that is not known.", value=state.lag_seconds
        )
        reads = CounterMetricFamily(
            _PREFIX + "reads",
            "Reads that it could answer, by who did: it (replica), or the primary, because it lacked what the reader "
            "had written or, one of several, was further behind than allowed (behind), was away or too far behind "
            "(unusable), or failed (failed).",
            labels=("outcome",),
        )
        for outcome, count in self._replica.answers.items():
            reads.add_metric((outcome,), count)
        yield reads
