"""No alert that a server said it had is lost, whatever is killed meanwhile, and every one of them is accounted for.

`CHAOS_SECONDS` over 60, as in `make chaos`, posts 10 000 alerts, else 1 000; `CHAOS_SEED` says what goes wrong when.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db.connecting import driver_url
from tests.chaos.alert_senders import SERVICES, Promises, Sender
from tests.chaos.fleet import Fleet
from tests.waiting import until

IS_LONG = float(os.environ.get("CHAOS_SECONDS", "8")) > 60
ALERTS = 10_000 if IS_LONG else 1_000
SENDERS = 8
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

COUNTED = """
select
  (select count(*) from alert_deliveries where processed_at is null) as waiting,
  (select sum(alert_count) from alert_deliveries) as received,
  (select count(*) from alert_dispositions) as disposed,
  (select count(*) from alert_dispositions where disposition = 'REJECTED') as rejected,
  (select count(*) from incidents) as incidents,
  (select count(*) from alerts where incident_id is null) as ungrouped
"""


@pytest.fixture
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    made = Fleet(folder)
    async with made.running():
        yield made


async def test_no_acknowledged_alert_is_lost_whatever_is_killed(fleet: Fleet, record_property: Any) -> None:
    chance = random.Random(SEED)  # noqa: S311  # of dice, not of secrets
    record_property("seed", SEED)
    promises = Promises()
    numbers = [*range(ALERTS)]
    senders = [Sender(fleet.slots, promises, random.Random(chance.random())) for _ in range(SENDERS)]  # noqa: S311  # likewise
    sending = asyncio.gather(*(sender.send(numbers[place::SENDERS]) for place, sender in enumerate(senders)))
    faults = 0
    try:
        while not sending.done() or faults < 4:
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            await go_wrong(fleet, faults, chance)
            faults += 1
        await asyncio.wait_for(sending, 300)
    finally:
        sending.cancel()
    record_property("faults", faults)
    await until(lambda: is_worked_off(fleet), timeout_seconds=60)
    connection = await asyncpg.connect(driver_url(fleet.database_url))
    try:
        counted = await connection.fetchrow(COUNTED)
        stored = {
            (row["name"], row["labels"]): row["status"]
            for row in await connection.fetch("select name, labels->>'service' as labels, status::text from alerts")
        }
        receipts = {
            str(row["id"]): row["alert_count"]
            for row in await connection.fetch("select id, alert_count from alert_deliveries")
        }
        ends = await connection.fetchval("select count(*) from outbox where type = 'ALERT_RESOLVED'")
        fired = await connection.fetchval(
            "select count(*) from (select type from outbox union all select type from event_log) told"
            " where type = 'ALERT_FIRED'"
        )
    finally:
        await connection.close()
    assert ends is not None
    assert promises.alerts == stored.keys()
    assert len(promises.alerts) == ALERTS
    assert {alert for alert, status in stored.items() if status == "RESOLVED"} == promises.resolved
    assert promises.receipts.items() <= receipts.items()
    assert counted["received"] == counted["disposed"]
    assert (counted["waiting"], counted["rejected"], counted["ungrouped"]) == (0, 0, 0)
    assert counted["incidents"] == len(SERVICES)
    assert fired == ALERTS


async def go_wrong(fleet: Fleet, number: int, chance: random.Random) -> None:
    """The next thing that goes wrong: each kind in turn, at random servers."""
    slot = chance.choice(fleet.slots)
    match number % 4:
        case 0:
            await slot.stop(signal.SIGKILL)
            await slot.start()
        case 1:
            await slot.stop(signal.SIGTERM)
            await slot.start()
        case 2:
            await fleet.restart_postgres(signal.SIGQUIT)
        case _:
            await fleet.restart_postgres(signal.SIGINT)


async def is_worked_off(fleet: Fleet) -> bool:
    try:
        connection = await asyncpg.connect(driver_url(fleet.database_url))
    except (OSError, asyncpg.PostgresError):
        return False
    try:
        return await connection.fetchval(
            "select not exists (select 1 from alert_deliveries where processed_at is null)"
        )
    finally:
        await connection.close()
