"""Collectors that ask somebody on each scrape, each of which costs no more than its own metrics when it fails."""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from domain.errors import DomainError

log = structlog.get_logger("reliability_studio.metrics")

_SUCCESS: Final = "reliability_studio_scrape_collector_success"


class Sampled(Protocol):
    """Somebody who has to be asked before there is anything to tell."""

    async def sample(self) -> None:
        """Ask. Where that raises, what was known before is forgotten, so that nothing old is told as new."""

    def collect(self) -> Iterable[Metric]:
        """What is known now."""


class SampledCollectors(Collector):
    """Several of them by name, as one collector that never fails, and says which of them did."""

    def __init__(self) -> None:
        self._collectors: dict[str, Sampled] = {}
        self._failed: set[str] = set()

    def add(self, name: str, collector: Sampled) -> None:
        """Expose what a collector tells."""
        self._collectors[name] = collector

    async def sample(self) -> None:
        """Let all of them ask at once."""
        await asyncio.gather(*(self._sample(name, collector) for name, collector in self._collectors.items()))

    async def _sample(self, name: str, collector: Sampled) -> None:
        try:
            await collector.sample()
        except DomainError as error:  # Postgres is away or slow, which is nothing new to anybody.
            self._failed.add(name)
            log.warning("some metrics are unknown", collector=name, reason=error.code)
        except Exception:  # Whatever it is, who scrapes is told everything else.
            self._failed.add(name)
            log.exception("some metrics are unknown", collector=name)
        else:
            self._failed.discard(name)

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        success = GaugeMetricFamily(
            _SUCCESS, "Whether those metrics could be told that are asked for on each scrape.", labels=("collector",)
        )
        for name, collector in self._collectors.items():
            try:
                families = list(collector.collect())
            except Exception:  # As above.
                self._failed.add(name)
                log.exception("some metrics cannot be told", collector=name)
            else:
                yield from families
            success.add_metric((name,), name not in self._failed)
        yield success
