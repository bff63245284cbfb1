"""What `/metrics` tells about alerts: whether every one that was taken is accounted for.

The audit runs on one server of the fleet at a time and leaves its numbers in Postgres, so that every server tells them.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import Any, Final

import orjson
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from db.alert_audits import NEWEST_AUDIT_SQL
from db.database import Database
from domain.alerts import AlertDisposition

KEPT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 1.0
_PREFIX: Final = "reliability_studio_"
_GAUGES: Final[Mapping[str, tuple[str, str]]] = {
    "received": ("alerts_received", "Alerts that were taken in the last 24 h."),
    "unaccounted": (
        "alert_deliveries_unaccounted",
        "Deliveries of the last 24 h whose alerts are not all accounted for. Always 0, or there is a bug.",
    ),
    "ungrouped": ("alerts_ungrouped", "Alerts that fire without an incident and are not suppressed."),
    "audit_age_seconds": (
        "alert_audit_age_seconds",
        "Time since alerts were last counted, by whichever server; since the start of this one where none ever did.",
    ),
    "waiting": ("alert_deliveries_waiting", "Deliveries that wait to be worked off."),
    "oldest_waiting_seconds": ("alert_deliveries_oldest_waiting_seconds", "How long the oldest of them waits."),
}


class AlertMetrics(Collector):
    """The newest audit, and what waits now. Asked of the database at most every `KEPT_SECONDS`."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._numbers: Mapping[str, Any] = {}
        self._good_until = 0.0

    async def sample(self) -> None:
        """Ask the database. What it does not tell within a second is unknown (NaN), and the reason raised."""
        now = self._monotonic()
        if now < self._good_until:
            return
        try:
            text = await self._database.reads.fetch_text(NEWEST_AUDIT_SQL, (), timeout_seconds=_PATIENCE_SECONDS)
            # Where nobody has ever counted, somebody should have since the start: it must not look as if all were well.
            self._numbers = {"audit_age_seconds": now - self._started_at, **orjson.loads(text or b"{}")}
            self._good_until = now + KEPT_SECONDS
        except Exception:
            self._numbers = {}
            raise

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        for key, (name, documentation) in _GAUGES.items():
            yield GaugeMetricFamily(_PREFIX + name, documentation, value=self._number(key))
        disposed = GaugeMetricFamily(
            _PREFIX + "alerts_disposed", "Alerts of the last 24 h by what became of them.", labels=("disposition",)
        )
        for disposition in AlertDisposition:
            disposed.add_metric((disposition.lower(),), self._number(disposition.lower()))
        yield disposed

    def _number(self, key: str) -> float:
        number = self._numbers.get(key)
        return nan if number is None else float(number)
