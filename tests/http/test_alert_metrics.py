"""What `/metrics` tells about alerts, on every server alike."""

from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import insert

from actions.alert_audits import audit
from db.alerts import alert_deliveries, alert_dispositions
from db.database import Database
from db.identifiers import new_id
from domain.alerts import AlertDisposition
from tests.http.scrape import sample
from tests.servers import ServerProcess

PREFIX = "reliability_studio_"


async def test_a_server_tells_what_another_has_counted(database_url: str) -> None:
    now = datetime.now(UTC)
    database = await Database.connect(database_url)
    try:
        async with database.writing(now) as tx:
            for alerts in (2, 1):
                id = new_id()
                delivery = {"id": id, "source": "script", "body": b"{}", "alert_count": alerts}
                times = {"received_at": now - timedelta(seconds=90), "processed_at": now}
                await tx.execute(insert(alert_deliveries).values(**delivery, **times))
                told = {"delivery_id": id, "position": 0, "disposition": AlertDisposition.CREATED, "reason": ""}
                await tx.execute(insert(alert_dispositions).values(created_at=now, **told))
        await database.transact(audit, now=now)
    finally:
        await database.close()
    async with (
        ServerProcess(DATABASE_URL=database_url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        assert await sample(http, PREFIX + "alert_deliveries_unaccounted") == 1
        assert await sample(http, PREFIX + "alerts_received") == 3
        assert await sample(http, PREFIX + "alerts_disposed", disposition="created") == 2
        assert await sample(http, PREFIX + "alerts_ungrouped") == 0
        assert await sample(http, PREFIX + "alert_deliveries_waiting") == 0
        assert await sample(http, PREFIX + "alert_audit_age_seconds") < 60
