"""`reliability-studio check` says which golden signals a real Prometheus has of which service."""

import time
from datetime import UTC, datetime
from pathlib import Path

from actions import services
from actions.services import NewService
from db.database import Database
from domain.access import Actor, Role
from tests.servers import run_command
from tests.telemetry_clients.prometheus_server import running_prometheus

SOMEBODY = Actor(id=None, name="tests", role=Role.ADMIN)


async def test_check_says_which_golden_signals_were_found_of_which_service(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    given = {"REQUEST_RATE": "sum(rate(jobs_total{$selector}[$window]))"}
    for new in (
        NewService(name="checkout"),
        NewService(name="inventory", selectors={"signals": given}),
        NewService(name="nobody"),
    ):
        await database.transact(lambda tx, new=new: services.create(tx, new, actor=SOMEBODY), now=datetime.now(UTC))
    minutes = [time.time() // 60 * 60 - 60 * minute for minute in range(30, 1, -1)]
    samples = [f'http_requests_total{{job="shop/checkout",code="200"}} 1 {at}' for at in minutes]
    async with running_prometheus(tmp_path, history="\n".join([*samples, "# EOF", ""])) as prometheus:
        code, out, _ = await run_command(
            "check", settings={"DATABASE_URL": database_url, "PROMETHEUS_URL": prometheus.url}
        )
    assert code == 0
    rows = {line.split()[0]: line.rstrip() for line in out.splitlines() if line}
    assert "request_rate, error_ratio: http_requests_total by job" in rows["checkout"]
    assert "not found: latency_p50" in rows["checkout"]
    assert "request_rate: given" in rows["inventory"]
    assert rows["nobody"].split(maxsplit=1)[1] == "none found"
