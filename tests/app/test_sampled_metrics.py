"""Metrics that are asked for on each scrape, when some of them cannot be told."""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from math import nan

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from actions.alerts.audits import audit
from app.observability.alerts import AlertMetrics
from app.observability.metrics import Metrics
from db.database import Database
from domain.errors import DeadlineExceeded
from tests.postgres import run_sql
from tests.servers import ServerProcess
from tests.waiting import until

SUCCESS = "reliability_studio_scrape_collector_success"
AUDIT_AGE = "reliability_studio_alert_audit_age_seconds"


class Depth:
    """Somebody who is asked how deep it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.when_asked: Exception | None = None
        self.when_told: Exception | None = None
        self.depth = nan

    async def sample(self) -> None:
        self.depth = nan
        if self.when_asked is not None:
            raise self.when_asked
        self.depth = 7

    def collect(self) -> Iterable[Metric]:
        if self.when_told is not None:
            raise self.when_told
        yield GaugeMetricFamily(self.name, "How deep.", value=self.depth)


async def told(metrics: Metrics) -> dict[tuple[str, ...], str]:
    """The values that a scrape finds, as text because of NaN."""
    _, text = await metrics.exposition("")
    return values(text.decode())


def values(text: str) -> dict[tuple[str, ...], str]:
    return {
        (sample.name, *sample.labels.values()): str(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("error", [RuntimeError("nobody has foreseen this"), DeadlineExceeded()])
async def test_a_collector_that_fails_costs_its_own_metrics_only(error: Exception):
    metrics = Metrics("1.0.0")
    well, unwell = Depth("well"), Depth("unwell")
    metrics.sampled_collectors.add("well", well)
    metrics.sampled_collectors.add("unwell", unwell)

    async def both() -> tuple[str | None, str | None, str, str]:
        found = await told(metrics)
        assert any(name == "reliability_studio_build_info" for name, *_ in found)
        return found.get(("well",)), found.get(("unwell",)), found[SUCCESS, "well"], found[SUCCESS, "unwell"]

    assert await both() == ("7.0", "7.0", "1.0", "1.0")
    unwell.when_asked = error
    assert await both() == ("7.0", "nan", "1.0", "0.0")
    unwell.when_asked, unwell.when_told = None, error
    assert await both() == ("7.0", None, "1.0", "0.0")
    unwell.when_told = None
    assert await both() == ("7.0", "7.0", "1.0", "1.0")


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        ServerProcess(DATABASE_URL=database_url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as client,
    ):
        yield client


async def test_a_server_tells_all_that_it_can_and_what_it_cannot(served: httpx.AsyncClient, database_url: str):
    async def scraped() -> dict[tuple[str, ...], str]:
        return values((await served.get("/metrics")).raise_for_status().text)

    async def successes() -> tuple[str, ...]:
        found = await scraped()
        return found[SUCCESS, "alerts"], found[SUCCESS, "live"], found[SUCCESS, "jobs"]

    async def all_but_one() -> bool:  # What is known about alerts is kept for some seconds.
        return await successes() == ("0.0", "1.0", "1.0")

    async def all_of_them() -> bool:
        return await successes() == ("1.0", "1.0", "1.0")

    await until(all_of_them)
    await run_sql(database_url, "alter table alert_audits rename to alert_counts")  # As a newer version may call it.
    await until(all_but_one)
    found = await scraped()
    assert found[AUDIT_AGE,] == "nan"
    assert ("http_server_request_duration_seconds_count", "GET", "200", "/metrics") in found

    await run_sql(database_url, "alter table alert_counts rename to alert_audits")
    await until(all_of_them)


async def test_where_alerts_were_never_counted_that_is_told_since_the_start(database: Database, database_url: str):
    clock = [100.0]
    metrics = Metrics("1.0.0")
    metrics.sampled_collectors.add("alerts", AlertMetrics(database, monotonic=lambda: clock[0]))
    await run_sql(database_url, "delete from alert_audits")
    clock[0] += 700
    assert (await told(metrics))[AUDIT_AGE,] == "700.0"
    await database.transact(audit, now=datetime.now(UTC))
    clock[0] += 60
    assert float((await told(metrics))[AUDIT_AGE,]) < 60
