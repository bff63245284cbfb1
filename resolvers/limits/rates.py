"""How much a viewer, and an address, may ask for over time and at the same time.

Each process counts for itself, without waiting for anybody, and every second tells Postgres what it counted and learns
what others did; sooner where it has let a tenth of a bucket pass, or where it has not heard of the bucket lately. So a
fleet of N processes lets at most N full buckets pass before all of them know, usually one and a tenth for each further
process; what was too much is paid back before anything else passes. While Postgres is away, each process counts alone.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import Final, TypeVar

import structlog

from db.database import Database
from db.rate_limits import forget_full, take
from domain.access import Actor
from domain.errors import DomainError, TooManyRequests
from engines.token_bucket import Rate

log = structlog.get_logger("reliability_studio.limits")

K = TypeVar("K", bound=Hashable)

_TELL_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.05
_FORGET_SECONDS: Final = 60.0
_MOST_BUCKETS: Final = 100_000
_MOST_AT_ONCE: Final = 5_000
_SHARE: Final = 0.1
"""The part of a bucket that a process lets pass before it tells."""
_NETWORK_BITS: Final = 64
"""Who has an IPv6 address has as many as that leaves."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much each viewer and each address may ask for; None for whatever is not limited."""

    viewer: Rate | None = None
    address: Rate | None = None
    refusals: Rate | None = None
    """How many requests of an address may have no proof of who asks, or a wrong one."""
    operations: int | None = None
    """How many operations of a viewer run at the same time, in one process."""


@dataclass(slots=True, eq=False)
class Bucket:
    """What one process knows of a bucket. Times are those of its own monotonic clock."""

    key: str
    full_at: float = 0.0
    untold_seconds: float = 0.0
    """What was taken since Postgres was told, as the time that it takes to fill in."""
    told_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left to whoever asks: of the bucket that is emptier, their own or that of their address."""

    remaining: int
    capacity: int
    refill_per_second: float


class RateLimiter:
    """Counts what everybody asks for. `run` shares it with the other processes."""

    def __init__(
        self, database: Database, limits: Limits, *, now: Callable[[], datetime], clock: Callable[[], float] = monotonic
    ) -> None:
        self.limits = limits
        self._database = database
        self._now = now
        self._clock = clock
        self._viewers: dict[Hashable, Bucket] = {}
        self._addresses: dict[str, Bucket] = {}
        self._networks: dict[str, Bucket] = {}
        self._refusals: dict[str, Bucket] = {}
        self._running: dict[Hashable, int] = {}
        self._untold: dict[str, Bucket] = {}
        self._wake = asyncio.Event()
        self._is_alone = False

    def take(self, actor: Actor, cost: float) -> None:
        """Let an operation pass that costs so much. Raises TooManyRequests, and takes nothing then."""
        now = self._clock()
        limits = self.limits
        viewer = address = None
        if (rate := limits.viewer) is not None and (key := actor.viewer) is not None:
            viewer = self._viewers.get(key) or self._new_viewer(key)
            if viewer.full_at > now and (wait := rate.wait_seconds(viewer.full_at, cost, now)) > 0:
                raise _too_many("viewer", "Your operations", "RATE_LIMIT_VIEWER", rate, wait)
        if (rate := limits.address) is not None and actor.address is not None:
            address = self._addresses.get(actor.address) or self._new_address(actor.address)
            if address.full_at > now and (wait := rate.wait_seconds(address.full_at, cost, now)) > 0:
                raise _too_many("address", "The operations of your address", "RATE_LIMIT_ADDRESS", rate, wait)
            self._count(address, rate, cost, now)
        if viewer is not None and limits.viewer is not None:
            self._count(viewer, limits.viewer, cost, now)

    def require_patience(self, address: str | None) -> None:
        """Raise TooManyRequests for an address of which too many proofs were refused, until it may try another one."""
        if (rate := self.limits.refusals) is None or address is None:
            return
        bucket = self._refusals.get(_network(address))
        if bucket is not None and (wait := rate.wait_seconds(bucket.full_at, 1, self._clock())) > 0:
            raise TooManyRequests(
                "Too many requests of your address had no proof of who asks, or a wrong one (RATE_LIMIT_REFUSED): "
                f"come back in {max(wait, 0.1):.1f} s",
                limit="refusals",
                retry_after_seconds=wait,
            )

    def count_refusal(self, address: str | None) -> None:
        """Count a proof that was refused. It costs nobody anything who has a right one, at the same address or not.

        Raises TooManyRequests as above, where this is one too many, and counts nothing then.
        """
        self.require_patience(address)
        if (rate := self.limits.refusals) is None or address is None:
            return
        network = _network(address)
        bucket = self._refusals.get(network)
        if bucket is None:
            _make_room(self._refusals)
            bucket = self._refusals[network] = Bucket(f"refused:{network}")
        self._count(bucket, rate, 1, self._clock())

    def begin(self, actor: Actor) -> Hashable:
        """An operation begins to run; hand what is returned to `end`. Raises TooManyRequests."""
        viewer: Hashable = actor.viewer
        if viewer is None:
            viewer = actor.address
        running = self._running.get(viewer, 0)
        if self.limits.operations is not None and running >= self.limits.operations:
            raise TooManyRequests(
                f"{running} of your operations are running, and no more may at the same time "
                "(MAX_CONCURRENT_OPERATIONS): wait for one of them to end",
                limit="operations",
                retry_after_seconds=1,
            )
        self._running[viewer] = running + 1
        return viewer

    def end(self, viewer: Hashable) -> None:
        """An operation has ended."""
        running = self._running[viewer] - 1
        if running:
            self._running[viewer] = running
        else:
            del self._running[viewer]

    def balance(self, actor: Actor) -> Balance | None:
        """What is left to somebody. None where nothing is limited."""
        now = self._clock()
        found = []
        if (rate := self.limits.viewer) is not None and (key := actor.viewer) is not None:
            found.append((rate, self._viewers.get(key)))
        if (rate := self.limits.address) is not None and actor.address is not None:
            found.append((rate, self._addresses.get(actor.address)))
        balances = [
            Balance(
                int(rate.capacity if bucket is None else rate.remaining(bucket.full_at, now)),
                int(rate.capacity),
                rate.units_per_second,
            )
            for rate, bucket in found
        ]
        return min(balances, key=lambda balance: balance.remaining, default=None)

    async def run(self) -> None:
        """Share with other processes, until cancelled."""
        forget_at = self._clock() + _FORGET_SECONDS
        while True:
            try:
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass  # It is time anyway.
            self._wake.clear()
            try:
                await self.tell()
                if self._clock() >= forget_at:
                    forget_at = self._clock() + _FORGET_SECONDS
                    self._forget()
                    async with self._database.writing(self._now()) as tx:
                        await forget_full(tx)
            except DomainError as error:
                if not self._is_alone:
                    log.warning("rates are limited by each process alone: the database is away", error=error.message)
                self._is_alone = True
                await asyncio.sleep(_TELL_SECONDS)
            else:
                self._is_alone = False
            await asyncio.sleep(_PAUSE_SECONDS)

    async def tell(self) -> None:
        """Tell what was taken, and learn what is left. Raises DatabaseUnavailable and such; nothing is lost then."""
        while self._untold:
            telling = [self._untold.pop(key) for key in list(self._untold)[:_MOST_AT_ONCE]]
            taken = {bucket.key: bucket.untold_seconds for bucket in telling}
            for bucket in telling:
                bucket.untold_seconds = 0.0
            try:
                async with self._database.writing(self._now()) as tx:
                    ahead = await take(tx, taken)
            except BaseException:
                for bucket in telling:
                    bucket.untold_seconds += taken[bucket.key]
                    self._untold[bucket.key] = bucket
                raise
            now = self._clock()
            for bucket in telling:
                bucket.full_at = now + max(0.0, ahead[bucket.key]) + bucket.untold_seconds
                bucket.told_at = now

    def _count(self, bucket: Bucket, rate: Rate, cost: float, now: float) -> None:
        seconds = cost / rate.units_per_second
        bucket.full_at = max(bucket.full_at, now) + seconds
        if not bucket.untold_seconds:
            self._untold[bucket.key] = bucket
            if now - bucket.told_at > 2 * _TELL_SECONDS:
                self._wake.set()
        bucket.untold_seconds += seconds
        if bucket.untold_seconds > rate.burst_seconds * _SHARE:
            self._wake.set()

    def _new_viewer(self, key: Hashable) -> Bucket:
        _make_room(self._viewers)
        # Issuers may give long names, in whatever characters.
        told = f"viewer:{sha256(key.encode()).hexdigest() if isinstance(key, str) else key}"
        bucket = self._viewers[key] = Bucket(told)
        return bucket

    def _new_address(self, address: str) -> Bucket:
        network = _network(address)
        bucket = self._networks.get(network)
        if bucket is None:
            _make_room(self._networks)
            bucket = self._networks[network] = Bucket(f"address:{network}")
        _make_room(self._addresses)
        self._addresses[address] = bucket
        return bucket

    def _forget(self) -> None:
        """Forget the buckets that are full."""
        now = self._clock()
        _forget_full(self._viewers, now)
        _forget_full(self._addresses, now)
        _forget_full(self._networks, now)
        _forget_full(self._refusals, now)


def _network(address: str) -> str:
    """What counts as one address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # A socket file.
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    kept = int(parsed) >> (128 - _NETWORK_BITS) << (128 - _NETWORK_BITS)
    return f"{IPv6Address(kept)}/{_NETWORK_BITS}"


def _make_room(buckets: dict[K, Bucket]) -> None:
    if len(buckets) >= _MOST_BUCKETS:
        del buckets[next(iter(buckets))]


def _forget_full(buckets: dict[K, Bucket], now: float) -> None:
    for key in [key for key, bucket in buckets.items() if bucket.full_at < now and not bucket.untold_seconds]:
        del buckets[key]


def _too_many(limit: str, whose: str, setting: str, rate: Rate, wait: float) -> TooManyRequests:
    return TooManyRequests(
        f"{whose} have cost more than {rate.units_per_second:g} a second, and {rate.capacity:g} at once ({setting}): "
        f"come back in {max(wait, 0.1):.1f} s",
        limit=limit,
        retry_after_seconds=wait,
    )
