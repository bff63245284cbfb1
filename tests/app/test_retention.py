"""What is forgotten after how long, and that nothing else is."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select, text

from actions import jobs
from actions.idempotency import first_answer
from actions.retention import forget_events
from app.retention import Retention
from db.database import Database
from db.identifiers import new_id
from db.jobs import jobs as stored_jobs
from db.services import services
from db.slos import slo_slices, slos
from domain.access import Actor, Role
from domain.errors import CursorExpired
from feed.cursor import Cursor, decode
from feed.log import EventLog
from tests.feed.logs import fill

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


async def positions(database: Database) -> list[int]:
    async with database.reading() as connection:
        return list((await connection.execute(text("select position from event_log order by position"))).scalars())


async def forget(database: Database, recorded_before: datetime, most: int = 100) -> int:
    async with database.writing(datetime.now(UTC)) as tx:
        return await forget_events(tx, recorded_before=recorded_before, most=most)


def retention(database: Database, *, at: datetime) -> Retention:
    return Retention(database, events_days=30, audit_days=400, now=lambda: at)


async def test_events_are_kept_for_as_long_as_promised(database: Database, database_url: str) -> None:
    await fill(database, database_url, 3)

    early, late = (retention(database, at=datetime.now(UTC) + timedelta(days=days)) for days in (29, 31))
    assert (await early.forget())["events"] == 0
    assert await positions(database) == [1, 2, 3]
    assert (await late.forget())["events"] == 3
    assert await positions(database) == []


async def test_an_emptied_log_goes_on_at_the_next_position(database: Database, database_url: str) -> None:
    await fill(database, database_url, 3)
    await forget(database, TOMORROW)
    await fill(database, database_url, 2)

    assert await positions(database) == [4, 5]


async def test_cursors_into_what_was_forgotten_are_expired(database: Database, database_url: str) -> None:
    await fill(database, database_url, 3)
    event_log = EventLog(database, database_url)
    async with database.reading() as connection:
        epoch = (await connection.execute(text("select epoch from event_log_head"))).scalar_one()
    await forget(database, TOMORROW, most=2)

    with pytest.raises(CursorExpired) as expired:
        await event_log.require(Cursor(epoch, 1))
    assert decode(expired.value.oldest_cursor) == Cursor(epoch, 2)
    await event_log.require(Cursor(epoch, 2))

    await forget(database, TOMORROW)
    with pytest.raises(CursorExpired) as expired:
        await event_log.require(Cursor(epoch, 2))
    assert decode(expired.value.oldest_cursor) == Cursor(epoch, 3)
    await event_log.require(Cursor(epoch, 3))


async def test_the_oldest_go_first_and_a_clock_that_went_back_makes_no_gap(
    database: Database, database_url: str
) -> None:
    await fill(database, database_url, 5)
    async with database.writing(datetime.now(UTC)) as tx:
        await tx.execute(
            text("update event_log set recorded_at = now() - interval '1 year' where position in (1, 2, 4)")
        )

    assert await forget(database, datetime.now(UTC) - timedelta(days=1), most=1) == 1
    assert await positions(database) == [2, 3, 4, 5]
    assert await forget(database, datetime.now(UTC) - timedelta(days=1)) == 1
    assert await positions(database) == [3, 4, 5]


async def test_only_one_process_at_a_time_forgets(database: Database, database_url: str) -> None:
    await fill(database, database_url, 2)
    async with database.writing(datetime.now(UTC)) as tx:
        assert await forget_events(tx, recorded_before=TOMORROW, most=1) == 1
        assert await forget(database, TOMORROW) == 0
    assert await forget(database, TOMORROW) == 1


async def test_idempotency_keys_are_kept_for_a_day(database: Database) -> None:
    first, actor = new_id(), Actor(id=None, name="deploys", role=Role.RESPONDER)

    async def answer_at(now: datetime) -> UUID:
        async with database.writing(now) as tx:
            return await first_answer(
                tx,
                "deploy-7",
                operation="recordDeployment",
                input={},
                answer_id=new_id() if now > NOON else first,
                actor=actor,
            )

    assert await answer_at(NOON) == first
    assert (await retention(database, at=NOON + timedelta(hours=23)).forget())["idempotency_keys"] == 0
    assert await answer_at(NOON + timedelta(hours=23)) == first
    assert (await retention(database, at=NOON + timedelta(hours=24)).forget())["idempotency_keys"] == 1
    assert await answer_at(NOON + timedelta(hours=24)) != first


async def test_slices_of_slos_are_kept_for_thirteen_months(database: Database) -> None:
    async with database.writing(NOON) as tx:
        service, slo = new_id(), new_id()
        await tx.insert(services, id=service, name="shop", display_name="shop")
        known = {"indicator_kind": "RATIO", "window_days": 30, "objective": Decimal("0.99")}
        await tx.insert(slos, id=slo, name="availability", service_id=service, **known)
        for days in (399, 401):
            day = (NOON - timedelta(days=days)).date()
            await tx.insert(slo_slices, slo_id=slo, day=day, good=[1.0], total=[1.0])
    assert (await retention(database, at=NOON).forget())["slo_slices"] == 1


async def test_jobs_are_kept_for_a_month_after_their_end(database: Database) -> None:
    now = datetime.now(UTC)  # The database's clock says which jobs may be claimed.
    for days in (29, 31):
        async with database.writing(now - timedelta(days=days)) as tx:
            await jobs.enqueue(tx, "count", str(days))
            [job] = await jobs.claim(tx, ["count"], worker="tests", lease_seconds=30, most=1)
            assert await jobs.finish(tx, job)
    async with database.writing(now - timedelta(days=31)) as tx:
        await jobs.enqueue(tx, "count", "waits")
    assert (await retention(database, at=now).forget())["jobs"] == 1
    async with database.reading() as connection:
        kept = (await connection.execute(select(stored_jobs.c.subject).order_by(stored_jobs.c.subject))).scalars()
        assert list(kept) == ["29", "waits"]
