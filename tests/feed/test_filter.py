"""A filter means the same to the process that hears of an event and to Postgres that finds it again."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.connecting import driver_url
from domain.feed import EventType
from domain.incidents import Severity
from feed.cursor import Cursor, Seen, Snapshot
from feed.filter import PAGE_SQL, EventFilter, LoggedEvent

EPOCH = UUID(int=7)
SUBJECTS = [UUID(int=number) for number in range(1, 4)]
TYPES = [EventType.INCIDENT_CREATED, EventType.INCIDENT_UPDATED, EventType.SERVICE_CHANGED]

EVENTS = st.lists(
    st.builds(
        LoggedEvent,
        epoch=st.just(EPOCH),
        position=st.just(0),
        xid=st.integers(3, 12),
        seq=st.just(0),
        type=st.sampled_from(TYPES),
        incident_id=st.none() | st.sampled_from(SUBJECTS),
        service_ids=st.lists(st.sampled_from(SUBJECTS), unique=True).map(tuple),
        severity=st.none() | st.sampled_from(Severity),
    ),
    min_size=1,
    max_size=12,
)
FILTERS = st.builds(
    EventFilter,
    types=st.none() | st.frozensets(st.sampled_from(TYPES)),
    incident_id=st.none() | st.sampled_from(SUBJECTS),
    service_ids=st.none() | st.frozensets(st.sampled_from(SUBJECTS)),
    severities=st.none() | st.frozensets(st.sampled_from(Severity)),
)
SEEN = st.builds(
    Seen, st.integers(0, 12), st.builds(Snapshot, st.just(5), st.just(10), st.frozensets(st.integers(5, 9)))
)
CURSORS = st.builds(Cursor, st.just(EPOCH), st.integers(0, 4), st.none() | SEEN)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(driver_url(database_url))
    yield opened
    await opened.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, asked=st.lists(st.tuples(FILTERS, CURSORS), min_size=1, max_size=4))
async def test_python_and_postgres_let_the_same_events_through(
    connection: asyncpg.Connection, events: list[LoggedEvent], asked: list[tuple[EventFilter, Cursor]]
) -> None:
    await connection.execute("truncate event_log")
    await connection.executemany(
        "insert into event_log"
        " (position, xid, seq, type, incident_id, service_ids, severity, payload, occurred_at, recorded_at)"
        " values ($1, $2::text::xid8, $1, $3, $4, $5, $6, '{}', now(), now())",
        [
            (place, str(event.xid), event.type, event.incident_id, [*event.service_ids], event.severity)
            for place, event in enumerate(events, 1)
        ],
    )
    for filter_, cursor in asked:
        rows = await connection.fetch(PAGE_SQL, *filter_.values(cursor), len(events), 100)
        expected = [
            place
            for place, event in enumerate(events, 1)
            if filter_.lets_through(event) and cursor.lacks(place, place, event.xid)
        ]
        assert [row["position"] for row in rows] == expected
