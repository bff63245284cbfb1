"""What Prometheus knows of the metrics that it holds: where they come from, what they mean, examples of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from telemetry_clients.prometheus.samples import Point, labels, points


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    """What a target says of a metric: its type (`counter`, `histogram`, ...), its help and its unit."""

    type: str
    help: str
    unit: str


@dataclass(frozen=True, slots=True)
class Target:
    """Something that is scraped. `health` is `up`, `down` or `unknown`; `last_error` says why it is down."""

    labels: Mapping[str, str]
    scrape_pool: str
    scrape_url: str
    health: str
    last_error: str
    last_scrape_at: datetime
    last_scrape_seconds: float


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation of a series, with labels that lead to its trace."""

    series_labels: Mapping[str, str]
    labels: Mapping[str, str]
    point: Point

    @property
    def trace_id(self) -> str | None:
        """The trace of the observation, under either of the usual labels."""
        return self.labels.get("trace_id") or self.labels.get("traceID")


def metric_metadata(item: Any) -> MetricMetadata:
    """Metadata as the API writes it. Raises KeyError, TypeError for another shape."""
    return MetricMetadata(str(item["type"]), str(item.get("help", "")), str(item.get("unit", "")))


def target(item: Any) -> Target:
    """An active target as the API writes it. Raises KeyError, TypeError, ValueError for another shape."""
    return Target(
        labels(item["labels"]),
        str(item["scrapePool"]),
        str(item["scrapeUrl"]),
        str(item["health"]),
        str(item.get("lastError", "")),
        datetime.fromisoformat(item["lastScrape"]).astimezone(UTC),
        float(item.get("lastScrapeDuration", 0)),
    )


def exemplars(item: Any) -> tuple[Exemplar, ...]:
    """The exemplars of one series as the API writes them. Raises KeyError, TypeError, ValueError for another shape."""
    series_labels = labels(item["seriesLabels"])
    return tuple(
        Exemplar(series_labels, labels(found["labels"]), points([(found["timestamp"], found["value"])])[0])
        for found in item["exemplars"]
    )
