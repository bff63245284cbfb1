"""What becomes of statements and connections to Postgres, in metrics and spans. Implements db's Observer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from app.observability.histograms import STATEMENT_BOUNDS, Durations
from db.database import Database
from db.observing import READS, REPLICA, WRITES
from domain import tracing
from domain.tracing import Attributes, SpanKind

_POOL: Final = "db_client_connection_pool_name"
_OPERATIONS: Final = frozenset({"BEGIN", "COMMIT", "DELETE", "INSERT", "ROLLBACK", "SELECT", "UPDATE", "WITH"})
_FIRST_WORD = re.compile(r"\s*(\w+)")
_TARGET = re.compile(
    r"""\b(?:(?:into|update)\s+"?([a-z_]\w*)|(?:from|join)\s+"?([a-z_]\w*)\b(?!\s*\())""", re.IGNORECASE
)  # tables, not functions
_LITERAL = re.compile(r"'(?:[^']|'')*'|(?<![\w$.])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b")
_MOST_CHARACTERS: Final = 2_000
_STATEMENTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of a statement: its kind, the name of its spans, and their attributes."""

    operation: str
    name: str
    attributes: Attributes


@lru_cache(maxsize=_STATEMENTS)
def described(sql: str) -> Statement:
    """A statement as OpenTelemetry's conventions want it, with `?` in the place of everything literal."""
    first = _FIRST_WORD.match(sql)
    word = first[1].upper() if first else ""
    operation = word if word in _OPERATIONS else "other"
    clean = _LITERAL.sub("?", sql)
    target = _outermost_target(clean)
    attributes: dict[str, str] = {
        "db.system.name": "postgresql",
        "db.operation.name": word,
        "db.query.text": clean[:_MOST_CHARACTERS],
    }
    if target is not None:
        attributes["db.collection.name"] = target
    return Statement(operation, word if target is None else f"{word} {target}", attributes)


def _outermost_target(sql: str) -> str | None:
    """The first table that is named in the fewest parentheses."""
    found: list[tuple[int, str]] = []
    depth, seen = 0, 0
    for match in _TARGET.finditer(sql):
        between = sql[seen : match.start()]
        depth, seen = depth + between.count("(") - between.count(")"), match.start()
        found.append((depth, (match[1] or match[2]).lower()))
    return min(found, key=itemgetter(0))[1] if found else None


class DatabaseMetrics(Collector):
    """Counts statements in a registry, and makes them spans of whatever is recorded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Durations(
            "db_client_operation_duration_seconds",
            "Time that one statement took, by pool (write, read, replica) or session (relay, event_log, "
            "slo_evaluation), operation and, where it failed, the error.",
            (_POOL, "db_operation_name", "error_type"),
            STATEMENT_BOUNDS,
            registry=registry,
        )
        self._retries = Counter(
            "db_client_transaction_retries",
            "Transactions that were done again, because Postgres ended them in favour of others.",
            registry=registry,
        )
        self._database: Database | None = None
        registry.register(self)

    def watch(self, database: Database) -> None:
        """Tell of the connections of this database."""
        self._database = database

    def statement_ended(self, pool: str, sql: str, seconds: float, error: BaseException | None) -> None:
        """Count a statement, and record it where somebody's work is recorded."""
        statement = described(sql)
        error_type = "" if error is None else type(error.__cause__ or error).__name__
        self._durations.labels(pool, statement.operation, error_type).observe(seconds)
        if (work := tracing.recording()) is not None:
            work.leaf(statement.name, SpanKind.CLIENT, statement.attributes, seconds=seconds, error=error_type or None)

    def transaction_retried(self) -> None:
        """Count a transaction that is done again."""
        self._retries.inc()

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        if self._database is None:
            return
        count = _gauge("count", "Connections to Postgres that are open, by pool and state.", _POOL, "state")
        most = _gauge("max", "Connections to Postgres that there may be, by pool.", _POOL)
        waiting = _gauge("pending_requests", "Reads that wait for a connection.", _POOL)
        pools = {READS: self._database.reads}
        if self._database.replica is not None:
            pools[REPLICA] = self._database.replica.reads
        for name, reads in pools.items():
            count.add_metric((name, "used"), reads.in_use)
            count.add_metric((name, "idle"), reads.idle)
            most.add_metric((name,), reads.limit)
            waiting.add_metric((name,), reads.waiting)
        writes = self._database.engine.pool
        if isinstance(writes, QueuePool):
            count.add_metric((WRITES, "used"), writes.checkedout())
            count.add_metric((WRITES, "idle"), writes.checkedin())
            most.add_metric((WRITES,), writes.size() + writes._max_overflow)
        yield from (count, most, waiting)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    named = [f"db_client_connection_{label}" if label == "state" else label for label in labels]
    return GaugeMetricFamily(f"db_client_connection_{name}", documentation, labels=named)
