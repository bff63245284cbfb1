"""How much a viewer and an address may ask for over time, in one process and in several."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text

from db.database import Database
from domain.access import Actor, Role
from domain.errors import DomainError, TooManyRequests
from engines.token_bucket import Rate
from resolvers.limits.guard import Guard
from resolvers.limits.rates import Limits, RateLimiter
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from tests.security.limited_client import LimitedClient
from tests.waiting import until

ANNA = Actor(UUID(int=1), "Anna", Role.VIEWER, address="192.0.2.1")
BEN = Actor(UUID(int=2), "Ben", Role.ADMIN, address="192.0.2.1")
NOBODY = Actor(None, "anonymous", Role.ADMIN, address="192.0.2.1")
HUNDRED = Rate(units_per_second=10, burst_seconds=10)


@dataclass
class Clock:
    """A clock that stands still until it is set."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter_of(database: Database, clock: Clock) -> Callable[..., RateLimiter]:
    """Makes the limiter of one more process."""

    def make(**limits: object) -> RateLimiter:
        return RateLimiter(database, Limits(**limits), now=lambda: datetime.now(UTC), clock=clock)  # type: ignore[arg-type] # see its callers

    return make


def taken(limiter: RateLimiter, actor: Actor, cost: float, most: int = 1_000) -> int:
    """How often somebody may ask for so much, one time after another."""
    for number in range(most):
        try:
            limiter.take(actor, cost)
        except TooManyRequests:
            return number
    return most


def test_a_viewer_has_a_bucket_that_fills_evenly(limiter_of: Callable[..., RateLimiter], clock: Clock) -> None:
    limiter = limiter_of(viewer=HUNDRED)

    assert taken(limiter, ANNA, 10) == 10
    clock.now += 2.5
    assert taken(limiter, ANNA, 10) == 2
    clock.now += 3_600
    assert taken(limiter, ANNA, 10) == 10


def test_who_has_to_wait_is_told_how_long_and_it_is_true(limiter_of: Callable[..., RateLimiter], clock: Clock) -> None:
    limiter = limiter_of(viewer=HUNDRED)
    taken(limiter, ANNA, 10)

    with pytest.raises(TooManyRequests) as refused:
        limiter.take(ANNA, 30)
    assert refused.value.retry_after_seconds == pytest.approx(3)
    assert refused.value.limit == "viewer"
    assert "RATE_LIMIT_VIEWER" in refused.value.message
    clock.now += 2.9
    with pytest.raises(TooManyRequests):
        limiter.take(ANNA, 30)
    clock.now += 0.1 + 1e-6
    limiter.take(ANNA, 30)


def test_viewers_of_one_address_have_a_bucket_each_and_one_together(
    limiter_of: Callable[..., RateLimiter],
) -> None:
    limiter = limiter_of(viewer=HUNDRED, address=Rate(15, 10))

    assert taken(limiter, ANNA, 10) == 10
    assert taken(limiter, BEN, 10) == 5
    with pytest.raises(TooManyRequests) as refused:
        limiter.take(BEN, 10)
    assert refused.value.limit == "address"
    assert taken(limiter, replace(BEN, address="192.0.2.2"), 10) == 5


def test_what_is_refused_costs_nothing(limiter_of: Callable[..., RateLimiter]) -> None:
    limiter = limiter_of(viewer=HUNDRED, address=Rate(5, 10))
    elsewhere = replace(ANNA, address="192.0.2.9")

    assert taken(limiter, ANNA, 30) == 1
    assert taken(limiter, elsewhere, 10) == 5
    assert taken(limiter, replace(BEN, address="192.0.2.9"), 1) == 0
    assert taken(limiter, replace(ANNA, address="192.0.2.10"), 10) == 2


def test_what_is_dearer_than_a_bucket_holds_passes_where_the_bucket_is_full(
    limiter_of: Callable[..., RateLimiter], clock: Clock
) -> None:
    limiter = limiter_of(viewer=HUNDRED)

    assert taken(limiter, ANNA, 500) == 1
    with pytest.raises(TooManyRequests) as refused:
        limiter.take(ANNA, 500)
    assert refused.value.retry_after_seconds == pytest.approx(50)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("/run/studio.sock", "192.0.2.2", False),
    ],
)
def test_what_counts_as_one_address(limiter_of: Callable[..., RateLimiter], one: str, other: str, shared: bool) -> None:
    limiter = limiter_of(address=HUNDRED)
    taken(limiter, replace(NOBODY, address=one), 10)

    assert (taken(limiter, replace(NOBODY, address=other), 10) == 0) is shared


async def test_processes_share_what_they_have_let_pass(limiter_of: Callable[..., RateLimiter], clock: Clock) -> None:
    """Both let a whole bucket pass before they know of each other; and then nothing until that is paid back."""
    first, second = limiter_of(viewer=HUNDRED), limiter_of(viewer=HUNDRED)
    assert (taken(first, ANNA, 10), taken(second, ANNA, 10)) == (10, 10)

    await first.tell()
    await second.tell()
    clock.now += 5
    assert taken(second, ANNA, 1) == 0
    with pytest.raises(TooManyRequests) as refused:
        second.take(ANNA, 10)
    assert refused.value.retry_after_seconds == pytest.approx(6, abs=0.5)


async def test_a_process_that_hears_in_time_lets_nothing_pass_that_another_has(
    limiter_of: Callable[..., RateLimiter],
) -> None:
    first, second = limiter_of(viewer=HUNDRED, address=HUNDRED), limiter_of(viewer=HUNDRED, address=HUNDRED)
    passed = 0
    for _ in range(200):
        for limiter in (first, second):
            passed += taken(limiter, ANNA, 1, most=1)
            await limiter.tell()

    assert 100 <= passed <= 125  # A bucket, and what filled in meanwhile.


async def test_many_processes_tell_of_many_buckets_at_once(limiter_of: Callable[..., RateLimiter]) -> None:
    limiters = [limiter_of(viewer=HUNDRED, address=HUNDRED) for _ in range(4)]
    actors = [replace(ANNA, id=UUID(int=number), address=f"192.0.2.{number % 200}") for number in range(300)]
    for number, limiter in enumerate(limiters):
        for actor in actors if number % 2 else reversed(actors):
            taken(limiter, actor, 1, most=1)

    await asyncio.gather(*(limiter.tell() for limiter in limiters))

    fresh = limiter_of(viewer=HUNDRED)
    fresh.take(actors[0], 1)
    await fresh.tell()
    balance = fresh.balance(actors[0])
    assert balance is not None
    assert balance.remaining == pytest.approx(95, abs=3)


async def test_while_the_database_is_away_each_process_counts_alone_and_loses_nothing(
    limiter_of: Callable[..., RateLimiter], database: Database, database_url: str, clock: Clock
) -> None:
    impatient = await Database.connect(database_url, statement_timeout_seconds=1)
    alone = RateLimiter(impatient, Limits(viewer=HUNDRED), now=lambda: datetime.now(UTC), clock=clock)
    async with database.writing(datetime.now(UTC)) as tx:
        await tx.execute(text("lock table rate_limits"))
        assert taken(alone, ANNA, 10, most=3) == 3
        with pytest.raises(DomainError):
            await alone.tell()
        assert taken(alone, ANNA, 10, most=2) == 2

    await alone.tell()
    other = limiter_of(viewer=HUNDRED)
    other.take(ANNA, 10)
    await other.tell()
    await impatient.close()

    assert taken(alone, ANNA, 10) == 5
    assert taken(other, ANNA, 10) == 4


async def test_a_limiter_at_work_shares_by_itself(limiter_of: Callable[..., RateLimiter]) -> None:
    first, second = limiter_of(viewer=HUNDRED), limiter_of(viewer=HUNDRED)

    def remaining() -> int:
        second.take(ANNA, 0.001)
        balance = second.balance(ANNA)
        assert balance is not None
        return balance.remaining

    working = [asyncio.create_task(limiter.run()) for limiter in (first, second)]
    assert taken(first, ANNA, 10) == 10
    await until(lambda: remaining() < 30)
    for task in working:
        task.cancel()
    await asyncio.wait(working)


def test_as_many_operations_of_a_viewer_as_are_allowed_run_at_the_same_time(
    limiter_of: Callable[..., RateLimiter],
) -> None:
    limiter = limiter_of(operations=2)
    running = [limiter.begin(ANNA), limiter.begin(ANNA)]

    with pytest.raises(TooManyRequests) as refused:
        limiter.begin(ANNA)
    assert refused.value.limit == "operations"
    assert "MAX_CONCURRENT_OPERATIONS" in refused.value.message
    limiter.end(limiter.begin(BEN))
    limiter.end(limiter.begin(NOBODY))
    limiter.end(running.pop())
    limiter.end(limiter.begin(ANNA))


async def test_operations_that_fail_leave_room_for_others(
    limiter_of: Callable[..., RateLimiter], database: Database
) -> None:
    guard = Guard(limiter=limiter_of(operations=1, viewer=HUNDRED), most_cost=1_000)
    client = LimitedClient(Operations(build_schema(), guard=guard), database, actor=ANNA)

    for _ in range(3):
        assert (await client.ask('{ incidents(after: "x") { nodes { id } } }'))["errors"]
        assert (await client.ask("query ($n: Int!) { incidents(first: $n) { nodes { id } } }"))["errors"]
        assert (await client.ask("{ incidents(first: 200) { nodes { id } } }"))["errors"]
    assert await client.ask("{ incidents(first: 1) { nodes { id } } }") == {"data": {"incidents": {"nodes": []}}}


async def test_documents_that_are_wrong_are_not_read_for_nothing(
    limiter_of: Callable[..., RateLimiter], database: Database
) -> None:
    guard = Guard(limiter=limiter_of(viewer=HUNDRED))
    client = LimitedClient(Operations(build_schema(), guard=guard), database, actor=ANNA)
    wrong = "{ nonsense" + " " * 4_000 + "}"

    codes = [(await client.ask(wrong))["errors"][0]["extensions"]["code"] for _ in range(4)]

    assert codes == ["GRAPHQL_VALIDATION_FAILED"] * 2 + ["TOO_MANY_REQUESTS"] * 2


async def test_documents_that_are_new_each_time_are_not_read_for_nothing(
    limiter_of: Callable[..., RateLimiter], database: Database
) -> None:
    guard = Guard(limiter=limiter_of(viewer=HUNDRED))
    client = LimitedClient(Operations(build_schema(), guard=guard), database, actor=ANNA)

    known = [await client.ask("{ viewer { name } }" + " " * 4_000) for _ in range(30)]
    new = [await client.ask(f"{{ a{number}: viewer {{ name }} }}" + " " * 4_000) for number in range(4)]

    assert all("errors" not in answer for answer in known)
    assert ["errors" in answer for answer in new] == [True] * 4


async def test_a_refusal_tells_what_is_left_and_how_fast_it_fills(
    limiter_of: Callable[..., RateLimiter], database: Database
) -> None:
    guard = Guard(limiter=limiter_of(viewer=HUNDRED, address=Rate(1_000, 10)))
    client = LimitedClient(Operations(build_schema(), guard=guard), database, actor=ANNA)
    query = "{ incidents(first: 70) { nodes { id } } }"

    told = await client.ask(query, extensions={"cost": True})
    answer = await client.send(OperationRequest(query))
    refused = await client.ask(query)

    assert told["extensions"]["cost"] == {
        "requested": 78,
        "actual": 1,
        "maximum": 20_000,
        "remaining": 22,
        "capacity": 100,
        "refillPerSecond": 10.0,
    }
    assert answer.retry_after_seconds == pytest.approx(5.6)
    (error,) = refused["errors"]
    assert error["extensions"] == {"code": "TOO_MANY_REQUESTS", "limit": "viewer", "retryAfterSeconds": 5.6}
    assert refused["extensions"]["cost"]["remaining"] == 22
    assert len(client.reads.statements) == 1
