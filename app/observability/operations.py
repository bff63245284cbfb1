"""What becomes of GraphQL operations, in metrics. Implements the Observer of `resolvers.observing`."""

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.observability.histograms import REQUEST_BOUNDS, Durations
from resolvers.compile.documents import Documents
from resolvers.observing import Outcome

OTHER: Final = "other"
MOST_NAMES: Final = 500
_UNKNOWN: Final = "unknown"
_PREFIX: Final = "reliability_studio_graphql_"


class OperationMetrics(Collector):
    """Counts operations and what is kept of their documents."""

    def __init__(self, registry: CollectorRegistry, names: Sequence[str]) -> None:
        """Operations with one of these names are told apart."""
        self._names = frozenset(names)
        self._documents: Documents | None = None
        self._durations = Durations(
            "graphql_server_operation_duration_seconds",
            "Time that one GraphQL operation took: of an answer in parts to the first, of a subscription until it was "
            "open. The outcome is ok, errors (of fields), refused (the request was wrong) or failed.",
            ("graphql_operation_name", "graphql_operation_type", "outcome"),
            REQUEST_BOUNDS,
            registry=registry,
        )
        registry.register(self)

    def watch(self, documents: Documents, names: Iterable[str] = ()) -> None:
        """Tell what is kept of these documents, and tell more names apart, as far as they are not too many."""
        self._documents = documents
        more = sorted(set(names) - self._names)[: max(0, MOST_NAMES - len(self._names))]
        self._names |= frozenset(more)

    def operation_ended(self, name: str | None, kind: str | None, outcome: Outcome, seconds: float) -> None:
        """Count an operation."""
        shown = name if name in self._names and name is not None else OTHER
        self._durations.labels(shown, kind or _UNKNOWN, outcome).observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        if self._documents is None:
            return
        lookups = CounterMetricFamily(
            _PREFIX + "cache_lookups",
            "Documents looked for among those that were parsed and validated, and their shapes among those compiled.",
            labels=("cache", "result"),
        )
        counts = self._documents.lookups
        for cache, found, made in (
            ("document", counts.documents_found, counts.documents_made),
            ("statement", counts.statements_found, counts.statements_made),
        ):
            lookups.add_metric((cache, "hit"), found)
            lookups.add_metric((cache, "miss"), made)
        yield lookups
        yield GaugeMetricFamily(_PREFIX + "documents", "Documents that are kept.", value=len(self._documents))
