"""A server that analyses incidents, to be killed. Its arguments: the URLs of database and Loki, and the time."""

import asyncio
import sys
from datetime import datetime

from actions.analyses import KIND
from actions.investigate import Investigation
from app.jobs import Work, Workers
from db.database import Database
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.transport import Endpoint, Transport


async def serve(database_url: str, loki_url: str, now_text: str) -> None:
    now = datetime.fromisoformat(now_text)
    database = await Database.connect(database_url)
    async with Transport(Endpoint(backend="Loki", url=loki_url)) as transport:
        telemetry = Telemetry(loki=Instances("Loki", {DEFAULT: Loki(transport)}))
        investigation = Investigation(database=database, telemetry=telemetry, now=lambda: now, deadline_seconds=60)
        works = {KIND: Work(run=investigation.run, timeout_seconds=90)}
        await Workers(database, works, name="server 1", now=lambda: now, lease_seconds=1, poll_seconds=0.02).run()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
