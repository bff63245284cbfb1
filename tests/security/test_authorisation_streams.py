"""Subscriptions of people whose rights change while they listen."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from graphql import GraphQLError

from app.http.read_marks import ReadMarks
from app.http.running import Runner
from domain.access import Actor, Role, TokenScope
from domain.errors import DatabaseUnavailable, Forbidden, Unauthenticated
from domain.time import Deadline
from feed.stream import QUEUE_FRAMES
from resolvers.context import RequestContext
from resolvers.operations import OperationAnswer, OperationRequest, Operations
from resolvers.subscriptions import Subscription, Subscriptions
from schema.root import build_schema
from tests.feed.conftest import Feed, running
from tests.resolvers.client import Client
from tests.waiting import until

EVENTS = "subscription { events { cursor type } }"
ADDRESSES = "subscription { events { type actor { email } } }"
READER = Actor(uuid4(), "Ada", Role.VIEWER, scopes=frozenset({TokenScope.READ}))


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
async def feed(database: Any, database_url: str) -> AsyncIterator[Feed]:
    made = Feed(database, database_url)
    async with running(made.relay, made.log, made.hub):
        await made.log.started()
        await until(lambda: made.relay.state.is_leader)
        yield made


@dataclass
class People:
    """Who may do what now. Everybody keeps their rights who is not named."""

    changed: dict[str, Actor | None] = field(default_factory=dict)
    asked: int = 0
    failures: int = 0

    async def current(self, actor: Actor) -> Actor | None:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable
        return self.changed.get(actor.name, actor)


class Listening:
    """Subscribes as different people."""

    def __init__(self, operations: Operations, feed: Feed, recheck_seconds: float = 0) -> None:
        self.people = People()
        self.client = Client(operations, feed.database)
        self.now = datetime.now(UTC)
        self.subscriptions = Subscriptions(
            operations.sources, feed.hub, lambda: self.now, self.people.current, recheck_seconds=recheck_seconds
        )

    async def open(self, actor: Actor, query: str = EVENTS) -> Subscription:
        context = replace(self.client.context(), actor=actor)
        return await self.subscriptions.open(self.client.prepared(query), None, context)


@pytest.fixture
def listening(operations: Operations, feed: Feed) -> Listening:
    return Listening(operations, feed)


@pytest.mark.parametrize(
    ("now", "error"),
    [
        (replace(READER, scopes=frozenset({TokenScope.INCIDENTS_WRITE})), Forbidden),
        (None, Unauthenticated),
    ],
    ids=["another scope", "deleted"],
)
async def test_who_loses_the_right_to_a_subscription_is_not_told_the_next_event(feed, listening, now, error):
    subscription, other = await listening.open(READER), await listening.open(replace(READER, name="Grace"))
    async with aclosing(subscription.frames) as frames, aclosing(other.frames) as others:
        await feed.write()
        await anext(frames)
        listening.people.changed["Ada"] = now
        await feed.write()
        with pytest.raises(error):
            await anext(frames)
        assert [(await anext(others)).reached.position for _ in range(2)] == [1, 2]


async def test_who_gets_other_rights_that_suffice_is_told_on(feed, listening):
    subscription = await listening.open(replace(READER, role=Role.ADMIN))
    async with aclosing(subscription.frames) as frames:
        for role in reversed(Role):
            listening.people.changed["Ada"] = replace(READER, role=role)
            await feed.write()
            await anext(frames)


async def test_a_subscription_for_admins_ends_with_the_role(feed, listening):
    admin = replace(READER, role=Role.ADMIN, scopes=None)
    subscription = await listening.open(admin, ADDRESSES)
    async with aclosing(subscription.frames) as frames:
        await feed.write()
        assert b'"actor":null' in (await anext(frames)).body
        listening.people.changed["Ada"] = replace(admin, role=Role.RESPONDER)
        await feed.write()
        with pytest.raises(Forbidden, match="takes the role ADMIN, and yours is RESPONDER"):
            await anext(frames)


async def test_what_waits_for_a_slow_subscriber_is_not_told_after_the_right_is_gone(feed, listening):
    subscription = await listening.open(READER)
    async with aclosing(subscription.frames) as frames:
        await feed.write()
        await anext(frames)
        await feed.write(5)
        [stream] = feed.hub._streams.values()
        await until(lambda: any(member.frames and len(member.frames) == 5 for member in stream.members))
        listening.people.changed["Ada"] = None
        with pytest.raises(Unauthenticated):
            await anext(frames)


async def test_who_reads_the_log_to_catch_up_is_asked_as_well(feed, listening):
    subscription = await listening.open(READER)
    await feed.write(QUEUE_FRAMES + 100)
    async with aclosing(subscription.frames) as frames:
        await anext(frames)
        listening.people.changed["Ada"] = None
        with pytest.raises(Unauthenticated):
            await anext(frames)


async def test_a_token_that_expires_while_it_listens_is_told_nothing_more(feed, listening):
    subscription = await listening.open(replace(READER, expires_at=listening.now + timedelta(minutes=5)))
    async with aclosing(subscription.frames) as frames:
        await feed.write()
        await anext(frames)
        listening.now += timedelta(minutes=5)
        await feed.write()
        with pytest.raises(Unauthenticated):
            await anext(frames)


async def test_rights_are_looked_up_once_for_all_subscriptions_of_one(operations, feed):
    listening = Listening(operations, feed, recheck_seconds=3600)
    opened = [await listening.open(replace(READER, request_id=str(n))) for n in range(20)]
    await feed.write(10)
    for subscription in opened:
        await anext(subscription.frames)
    assert listening.people.asked == 0
    for subscription in opened:
        await subscription.frames.aclose()


async def test_where_nobody_can_say_which_rights_somebody_has_nothing_is_told_until_they_can(feed, listening):
    subscription = await listening.open(READER)
    async with aclosing(subscription.frames) as frames:
        listening.people.failures = 1
        await feed.write()
        assert (await anext(frames)).reached.position == 1
    assert listening.people.asked >= 2


async def test_over_an_open_connection_everybody_has_the_rights_of_the_moment(operations, feed, listening):
    """Whoever connected as somebody that they are no longer does not go on as that."""

    def make_context(actor: Actor, id: str, deadline: Deadline) -> RequestContext:
        return replace(listening.client.context(), actor=actor, request_id=id, deadline=deadline)

    marks, current = ReadMarks(feed.database), listening.people.current
    runner = Runner(operations, listening.subscriptions, make_context, marks, current, timeout_seconds=10)
    admin = replace(READER, role=Role.ADMIN, scopes=None)

    async def ask(query: str) -> Any:
        answer = await runner.start(OperationRequest(query), admin)
        assert isinstance(answer, OperationAnswer)
        return orjson.loads(answer.body)

    log = "{ auditLog { totalCount } }"
    assert "errors" not in await ask(log)
    listening.people.changed["Ada"] = replace(admin, role=Role.RESPONDER)
    for query in (log, ADDRESSES):
        assert (await ask(query))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    listening.people.changed["Ada"] = None
    for query in (log, EVENTS, 'mutation { createService(input: {name: "x"}) { errors { code } } }'):
        answer = await ask(query)
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
        assert "data" not in answer


@pytest.mark.parametrize(
    ("query", "actor", "message"),
    [
        (EVENTS, replace(READER, scopes=frozenset()), "This takes a token with the scope read, which yours has not"),
        (ADDRESSES, READER, "This takes the role ADMIN, and yours is VIEWER: ask an admin for it"),
        (
            'subscription { logTail(service: "checkout") { line } }',
            READER,
            "This takes a token with the scope telemetry:query, which yours has not",
        ),
    ],
)
async def test_a_subscription_to_something_forbidden_is_refused_as_a_whole(listening, query, actor, message):
    with pytest.raises(GraphQLError, match=message) as refused:
        await listening.open(actor, query)
    assert isinstance(refused.value.original_error, Forbidden)
    assert refused.value.path == ["logTail" if "logTail" in query else "events"]
