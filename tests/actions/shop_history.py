"""A real Prometheus that has stored six hours of a shop's history."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.telemetry_clients.prometheus_server import PrometheusServer, running_prometheus

SCRAPE_SECONDS = 15
HOURS = 6
NOW = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 300 * 300, UTC)
START = NOW - timedelta(hours=HOURS)
REQUESTS = {"api": 3, "batch": 1}
"""Successful requests of each team in one scrape interval."""
FAILURES_SINCE = NOW - timedelta(hours=1)
"""Since then one more request fails in every interval; its series did not exist before."""


def history() -> Iterator[str]:
    scrapes = int(HOURS * 3600 / SCRAPE_SECONDS) + 1
    times = [int(START.timestamp()) + number * SCRAPE_SECONDS for number in range(scrapes)]
    since = FAILURES_SINCE.timestamp()
    yield "# TYPE shop_requests counter\n"
    for team, count in REQUESTS.items():
        yield from (f'shop_requests_total{{team="{team}",code="200"}} {n * count} {at}\n' for n, at in enumerate(times))
    failing = [at for at in times if at >= since]
    yield from (f'shop_requests_total{{team="api",code="500"}} {n + 1} {at}\n' for n, at in enumerate(failing))
    yield "# TYPE shop_seconds histogram\n"
    for bound, share in (("0.1", 8), ("1.0", 9), ("+Inf", 10)):
        yield from (f'shop_seconds_bucket{{le="{bound}"}} {n * share} {at}\n' for n, at in enumerate(times))
    yield from (f"shop_seconds_count {n * 10} {at}\n" for n, at in enumerate(times))
    yield "# TYPE shop_jobs counter\n"
    yield from (f'shop_jobs_total{{code="200"}} {n} {at}\n' for n, at in enumerate(times))
    yield from (f'shop_jobs_total{{code="503"}} 50 {at}\n' for at in failing)
    yield "# TYPE shop_up gauge\n"
    yield from (f"shop_up {int(at < since)} {at}\n" for at in times)
    yield "# EOF\n"


@pytest.fixture(scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrometheusServer]:
    async with running_prometheus(tmp_path_factory.mktemp("shop"), history="".join(history())) as server:
        yield server
