"""Alerts that our own code breaks on: they are rejected, and their neighbours have their dispositions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from actions.alerts.audits import audit
from actions.alerts.deliveries import MOST_OVERDUE_ATTEMPTS, PATIENCE, count_attempt, process
from app.alert_intake import AlertIntake
from app.background import in_background
from db.alerts import alert_deliveries, alert_dispositions, alerts
from db.incidents import incidents
from db.services import services
from domain.errors import DeadlineExceeded
from tests.actions.alerting import deliver, firing, processed, resolved
from tests.actions.conftest import NOON, Studio
from tests.waiting import until

BREAK = """
create function break_on_cursed() returns trigger language plpgsql as $$
begin
  if to_jsonb(new)::text like '%cursed%' then raise exception 'a bug' using errcode = '{sqlstate}'; end if;
  return new;
end $$
"""
A_BUG = "P0001"
TOO_SLOW = "57014"
SLOW_WHEN_MANY = r"""
create function break_on_many() returns trigger language plpgsql as $$
begin
  if (select count(*) from written) > 2 then raise exception 'too many' using errcode = '57014'; end if;
  return null;
end $$
"""


@asynccontextmanager
async def breaking(studio: Studio, table: str, *, sqlstate: str = A_BUG) -> AsyncIterator[None]:
    """While it lasts, nothing that says "cursed" can be written into a table."""
    function = BREAK.format(sqlstate=sqlstate)
    on = f"on {table} for each row execute function break_on_cursed()"
    async with studio.database.writing(NOON) as tx:
        await tx.execute(text(function.replace(":", r"\:")))
        await tx.execute(text(f"create trigger breaks before insert or update {on}"))
    yield
    async with studio.database.writing(NOON) as tx:
        await tx.execute(text("drop function break_on_cursed() cascade"))


async def worked_off(studio: Studio) -> list[tuple[str, int, str]]:
    """Let the intake work on what waits; return what it says of alerts that broke it: receipt, position, error."""

    async def is_done() -> bool:
        return all(row["processed_at"] is not None for row in await studio.rows(alert_deliveries))

    with capture_logs() as logs:
        intake = AlertIntake(studio.database, now=lambda: studio.now, poll_seconds=0.01)
        async with in_background({"alerts": intake.run}):
            await until(is_done)
    return [
        (entry["receipt"], entry["position"], str(entry["exc_info"]))
        for entry in logs
        if entry["event"] == "an alert breaks us"
    ]


async def was_overdue(studio: Studio, *, times: int) -> None:
    """The database has taken too long over the oldest delivery so many times."""
    async with studio.database.writing(NOON) as tx:
        for _ in range(times):
            await count_attempt(tx, is_overdue=True)


async def dispositions(studio: Studio, delivery_id: UUID) -> list[str]:
    return [row["disposition"] for row in await studio.rows(alert_dispositions, delivery_id=delivery_id)]


@pytest.mark.parametrize("table", ["alerts", "services", "timeline_events"])
async def test_only_the_alert_that_breaks_us_is_rejected(studio: Studio, table: str):
    async with breaking(studio, table):
        before = await deliver(studio, firing("search"))
        names = ["checkout", "payment", "cursed", "cart", "search"]
        mixed = await deliver(studio, *map(firing, names), {"status": "firing"}, resolved("checkout", end=5))
        after = await deliver(studio, firing("ledger"), firing("cart"))
        broken = await worked_off(studio)

    assert await dispositions(studio, before) == ["CREATED"]
    assert [
        (row["position"], row["disposition"], row["alert_id"] is not None)
        for row in sorted(
            await studio.rows(alert_dispositions, delivery_id=mixed), key=lambda row: int(row["position"])
        )
    ] == [
        (0, "CREATED", True),
        (1, "CREATED", True),
        (2, "REJECTED", False),
        (3, "CREATED", True),
        (4, "DUPLICATE", True),
        (5, "REJECTED", False),
        (6, "UPDATED", True),
    ]
    assert await dispositions(studio, after) == ["CREATED", "DUPLICATE"]
    [rejected] = await studio.rows(alert_dispositions, delivery_id=mixed, position=2)
    assert str(mixed) in rejected["reason"]
    assert [(receipt, position, "a bug" in error) for receipt, position, error in broken] == [(str(mixed), 2, True)]
    # Nothing of it is left, and everything of its neighbours is there.
    known = {"checkout", "payment", "cart", "search", "ledger"}
    assert {row["labels"]["service"] for row in await studio.rows(alerts)} == known
    assert {row["name"] for row in await studio.rows(services)} == known
    assert len(await studio.rows(incidents)) == 5
    counted = await studio.database.transact(audit, now=studio.now)
    assert (counted.received, counted.created, counted.rejected, counted.unaccounted) == (10, 5, 2, 0)


async def test_where_all_alerts_break_us_each_is_rejected_and_nothing_is_blocked(studio: Studio):
    async with breaking(studio, "alerts"):
        cursed = await deliver(studio, *(firing(f"cursed-{number}") for number in range(10)))
        good = await deliver(studio, firing())
        broken = await worked_off(studio)
    assert await dispositions(studio, cursed) == ["REJECTED"] * 10
    assert await dispositions(studio, good) == ["CREATED"]
    assert [position for _, position, _ in broken] == [*range(10)]


async def test_once_it_is_mended_the_same_alert_is_taken_when_it_is_told_again(studio: Studio):
    async with breaking(studio, "alerts"):
        await deliver(studio, firing("cursed"), firing())
        await worked_off(studio)
    again = await deliver(studio, firing("cursed"), firing())
    await worked_off(studio)
    assert await dispositions(studio, again) == ["CREATED", "DUPLICATE"]


async def test_no_alert_is_blamed_for_a_database_that_is_too_slow(studio: Studio):
    waiting = await deliver(studio, firing("cursed"), firing())
    await was_overdue(studio, times=MOST_OVERDUE_ATTEMPTS)
    studio.now = NOON + PATIENCE - timedelta(seconds=1)
    async with breaking(studio, "alerts", sqlstate=TOO_SLOW):
        with pytest.raises(DeadlineExceeded):
            await processed(studio)
    assert await dispositions(studio, waiting) == []
    await processed(studio)
    assert await dispositions(studio, waiting) == ["CREATED", "CREATED"]


async def test_an_alert_that_takes_the_database_too_long_for_ever_blocks_nothing_for_ever(studio: Studio):
    async with breaking(studio, "alerts", sqlstate=TOO_SLOW):
        mixed = await deliver(studio, firing("checkout"), firing("cursed"), firing("cart"))
        after = await deliver(studio, firing("ledger"))
        await was_overdue(studio, times=MOST_OVERDUE_ATTEMPTS - 2)
        studio.now = NOON + PATIENCE
        broken = await worked_off(studio)

    assert await dispositions(studio, after) == ["CREATED"]
    told = sorted(await studio.rows(alert_dispositions, delivery_id=mixed), key=lambda row: int(row["position"]))
    assert [row["disposition"] for row in told] == ["CREATED", "REJECTED", "CREATED"]
    assert "too long" in told[1]["reason"]
    assert str(mixed) in told[1]["reason"]
    assert [(receipt, position) for receipt, position, _ in broken] == [(str(mixed), 1)]
    [delivery] = await studio.rows(alert_deliveries, id=mixed)
    assert delivery["attempts"] == MOST_OVERDUE_ATTEMPTS - 1
    assert {row["labels"]["service"] for row in await studio.rows(alerts)} == {"checkout", "cart", "ledger"}
    counted = await studio.database.transact(audit, now=studio.now)
    assert (counted.received, counted.created, counted.rejected, counted.unaccounted) == (4, 3, 1, 0)


async def test_what_takes_the_database_too_long_at_once_is_worked_off_in_smaller_parts(studio: Studio):
    async with studio.database.writing(NOON) as tx:
        await tx.execute(text(SLOW_WHEN_MANY))
        on = "on alerts referencing new table as written execute function break_on_many()"
        await tx.execute(text(f"create trigger breaks after insert {on}"))
    try:
        large = await deliver(studio, *(firing(f"service-{number}") for number in range(9)))
        await was_overdue(studio, times=2)
        await processed(studio)
    finally:
        async with studio.database.writing(NOON) as tx:
            await tx.execute(text("drop function break_on_many() cascade"))
    assert await dispositions(studio, large) == ["CREATED"] * 9


async def test_where_the_database_takes_too_long_over_every_alert_it_is_not_asked_about_each(studio: Studio):
    async with breaking(studio, "alerts", sqlstate=TOO_SLOW):
        cursed = await deliver(studio, *(firing(f"cursed-{number}") for number in range(60)))
        await was_overdue(studio, times=MOST_OVERDUE_ATTEMPTS - 1)
        studio.now = NOON + PATIENCE
        told = await studio.database.transact(process, now=studio.now)
    assert await dispositions(studio, cursed) == ["REJECTED"] * 60
    assert told is not None
    assert len({id(each.error) for each in told.broken}) < 60  # Many were rejected together.
