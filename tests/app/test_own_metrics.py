"""What `/metrics` tells of statements, connections and background jobs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from actions import jobs
from actions.jobs import Job
from app.jobs import Work, Workers
from app.observability.database import DatabaseMetrics, described
from app.observability.jobs import JobMetrics, JobQueue
from db.connecting import driver_url
from db.database import Database, Transaction
from db.sessions import session
from domain.errors import Conflict, DeadlineExceeded
from domain.tracing import Span, SpanKind, Tracer
from feed.log import EventLog
from feed.relay import Relay
from tests.feed.logs import running, tell
from tests.waiting import until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POOL = "db_client_connection_pool_name"
OPERATION = "db_operation_name"


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("sql", "name", "shown"),
    [
        (
            "select '{\"a\":' || (select name from (select 1 from services limit 21) s where n = 1.5e3) from incidents",
            "SELECT incidents",
            "select ? || (select name from (select ? from services limit ?) s where n = ?) from incidents",
        ),
        ("insert into jobs (kind) values ('it''s', $1)", "INSERT jobs", "insert into jobs (kind) values (?, $1)"),
        (
            "UPDATE incidents SET title=$1 WHERE id = 7",
            "UPDATE incidents",
            "UPDATE incidents SET title=$1 WHERE id = ?",
        ),
        ("select x from unnest($1::text[]) x join event_log on true", "SELECT event_log", None),
        ("begin isolation level repeatable read", "BEGIN", None),
        ("", "", ""),
    ],
)
def test_a_statement_is_told_without_its_values(sql: str, name: str, shown: str | None):
    statement = described(sql)
    assert statement.name == name
    assert statement.attributes["db.query.text"] == (sql if shown is None else shown)


async def test_every_statement_is_counted_by_its_pool_its_kind_and_its_error(database_url: str):
    registry = CollectorRegistry()
    metrics = DatabaseMetrics(registry)
    database = await Database.connect(database_url, observer=metrics, read_connections=3, pool_max=7)
    metrics.watch(database)

    def counted(pool: str, operation: str, error: str = "") -> float:
        labels = {POOL: pool, OPERATION: operation, "error_type": error}
        return value(registry, "db_client_operation_duration_seconds_count", **labels) or 0

    try:
        await database.reads.fetch_text("select 'opens a connection'::text", (), timeout_seconds=5)
        before = counted("read", "SELECT")
        assert await database.reads.fetch_text("select 'x'::text", (), timeout_seconds=5) == b"x"
        assert counted("read", "SELECT") - before == 1
        with pytest.raises(asyncpg.UndefinedTableError):
            await database.reads.fetch_text("select a::text from nowhere", (), timeout_seconds=5)
        with pytest.raises(DeadlineExceeded):
            await database.reads.fetch_text("select pg_sleep(60)::text", (), timeout_seconds=0.1)

        async def write(tx: Transaction) -> None:
            await tx.execute(text("update incidents set title = title"))

        await database.transact(write, now=NOW)

        assert counted("read", "SELECT", "UndefinedTableError") == 1
        assert counted("read", "SELECT", "CancelledError") == 1
        assert counted("write", "UPDATE") == 1
        await until(lambda: counted("write", "COMMIT") > 0)
        assert value(registry, "db_client_connection_max", **{POOL: "read"}) == 3
        assert value(registry, "db_client_connection_max", **{POOL: "write"}) == 7
        async with database.writing(NOW):
            used = {POOL: "write", "db_client_connection_state": "used"}
            assert value(registry, "db_client_connection_count", **used) == 1
    finally:
        await database.close()


async def test_the_statements_of_the_relay_and_of_the_logs_reader_are_counted_as_those_of_others(database_url: str):
    registry = CollectorRegistry()
    metrics = DatabaseMetrics(registry)
    database = await Database.connect(database_url, observer=metrics)
    event_log = EventLog(database, database_url)
    relay = Relay(database_url, event_log, observer=metrics)

    def counted(session: str, operation: str) -> float:
        labels = {POOL: session, OPERATION: operation, "error_type": ""}
        return value(registry, "db_client_operation_duration_seconds_count", **labels) or 0

    try:
        async with running(event_log.run, relay.run):
            await event_log.started()
            await tell(database)
            await until(lambda: relay.state.moved == 1 and event_log.position == 1)
            assert counted("relay", "WITH") >= 1
            assert counted("relay", "SELECT") > counted("relay", "WITH")
            assert counted("event_log", "SELECT") >= 1
    finally:
        await database.close()


async def test_a_statement_of_a_session_is_a_span_where_work_is_recorded_and_nothing_elsewhere(database_url: str):
    spans: list[Span] = []
    tracer = Tracer(spans.append, sampler="always_on", ratio=1)
    registry = CollectorRegistry()
    async with session(driver_url(database_url), "relay", settings={}, observer=DatabaseMetrics(registry)) as own:
        divide = await own.repeated("select 1 / $1::integer")
        await divide.fetch(1)
        await own.fetchval("select position from event_log_head")
        with tracer.work("job relay", SpanKind.INTERNAL):
            await divide.fetch(1)
            with pytest.raises(asyncpg.DivisionByZeroError):
                await divide.fetch(0)
            await own.fetchval("select position from event_log_head")
        await until(lambda: len(spans) == 4)

    statements = [span for span in spans if span.kind is SpanKind.CLIENT]
    assert [(span.name, span.error) for span in statements] == [
        ("SELECT", None),
        ("SELECT", "DivisionByZeroError"),
        ("SELECT event_log_head", None),
    ]
    assert {span.attributes["db.query.text"] for span in statements[:2]} == {"select ? / $1::integer"}
    failed = {POOL: "relay", OPERATION: "SELECT", "error_type": "DivisionByZeroError"}
    assert value(registry, "db_client_operation_duration_seconds_count", **failed) == 1


async def test_a_transaction_that_gives_way_is_counted(database_url: str):
    registry = CollectorRegistry()
    database = await Database.connect(database_url, observer=DatabaseMetrics(registry))

    async def give_way(tx: Transaction) -> None:
        await tx.execute(text("do $$ begin raise exception 'no' using errcode = '40001'; end $$"))

    try:
        with pytest.raises(Conflict):
            await database.transact(give_way, now=NOW)
    finally:
        await database.close()
    assert value(registry, "db_client_transaction_retries_total") == 4


async def test_jobs_are_counted_from_the_queue_to_their_end(database: Database):
    registry = CollectorRegistry()
    metrics = JobMetrics(registry)
    queue = JobQueue(database, ["good", "bad", "idle"])
    registry.register(queue)
    now = datetime.now(UTC)
    go_on = asyncio.Event()

    async def do(job: Job) -> None:
        await go_on.wait()
        if job.kind == "bad":
            raise Conflict("It never works")

    async def ask(tx: Transaction) -> None:
        await jobs.enqueue(tx, "good", "one", run_at=now - timedelta(seconds=90))
        await jobs.enqueue(tx, "bad", "one", run_at=now)
        await jobs.enqueue(tx, "good", "later", run_at=now + timedelta(hours=1))

    async def die(tx: Transaction) -> None:
        assert await jobs.claim(tx, ["good"], worker="dead", lease_seconds=0, most=1)

    await database.transact(ask, now=now)
    await queue.sample()
    assert value(registry, "reliability_studio_jobs_waiting", kind="good") == 1
    assert value(registry, "reliability_studio_jobs_waiting", kind="idle") == 0
    oldest = value(registry, "reliability_studio_jobs_oldest_waiting_seconds", kind="good")
    assert oldest is not None
    assert oldest >= 90

    await database.transact(die, now=now)
    works = {kind: Work(run=do, timeout_seconds=60, most_attempts=1) for kind in ("good", "bad")}
    metrics.opened([*works])
    workers = Workers(database, works, name="alive", now=lambda: datetime.now(UTC), observer=metrics, poll_seconds=0.01)
    running = asyncio.create_task(workers.run())
    try:

        def under_way(wanted: float) -> bool:
            found = [value(registry, "reliability_studio_jobs_running", kind=kind) for kind in works]
            return found == [wanted, wanted]

        await until(lambda: under_way(1))
        go_on.set()
        await until(lambda: under_way(0))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def ended(kind: str, outcome: str) -> Any:
        return value(registry, "reliability_studio_job_run_duration_seconds_count", kind=kind, outcome=outcome)

    assert (ended("good", "done"), ended("bad", "failed")) == (1, 1)
    assert value(registry, "reliability_studio_job_takeovers_total", kind="good") == 1
    assert value(registry, "reliability_studio_job_takeovers_total", kind="bad") == 0
    await queue.sample()
    assert value(registry, "reliability_studio_jobs_waiting", kind="good") == 0
