"""The slices that are missing: asked of Prometheus for many objectives at once, and kept."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import numpy as np

from actions.slos.cycle import Cycle
from actions.slos.questions import Answers, Moments, ask, moments_of
from actions.slos.slices import ALL, Key, group_key, read_slices, store, summed
from actions.slos.states import Evaluated
from actions.slos.watch import Watch
from actions.slos.watchlist import Watchlist
from db.database import Database
from db.slo_slices import write_slice
from domain.time import Deadline
from engines.slo.batches import Counted, Question, good_events
from engines.slo.slices import Slices, unknown
from engines.slo.windows import DAY_SECONDS
from telemetry_clients.errors import TelemetryError
from telemetry_clients.instances import Instances
from telemetry_clients.prometheus import Prometheus

MOST_VALUES: Final = 60_000
"""In one answer to a range query."""
CATCHING_UP_SECONDS: Final = 30.0
"""Of one cycle: the history of many new objectives must not keep all others waiting."""
MOST_RETRIES: Final = 20
"""Of objectives whose queries failed, in one cycle."""
LONGEST_BACKFILL_SECONDS: Final = 366 * DAY_SECONDS


class MissingSlices:
    """What objectives miss, read as far as their Prometheus answers and the deadline allows."""

    def __init__(
        self,
        database: Database,
        prometheus: Instances[Prometheus],
        watchlist: Watchlist,
        *,
        query_timeout_seconds: float,
    ) -> None:
        self._database = database
        self._prometheus = prometheus
        self._watchlist = watchlist
        self._query_timeout_seconds = query_timeout_seconds

    async def read_latest(self, now: datetime, deadline: Deadline, cycle: Cycle) -> set[UUID]:
        """One slice of everything that misses exactly one, a hundred to a query. Return what moved on."""
        moved: set[UUID] = set()
        together: dict[tuple[int, str | None], list[Watch]] = defaultdict(list)
        for watch in self._watchlist:
            end = self._watchlist.end(watch, now)
            if watch.events is not None and not watch.failures and watch.through == end - watch.seconds:
                together[watch.seconds, watch.kept.instance].append(watch)
        for (seconds, _), watches in together.items():
            end = self._watchlist.end(watches[0], now)
            moment = datetime.fromtimestamp(end, UTC)
            answers = await self._ask(watches, Moments(moment, moment, seconds), deadline, cycle)
            if answers is None:
                continue
            await self._keep_latest(watches, answers, end, now)
            moved |= _settle(watches, answers, end, now, cycle)
        return moved

    async def catch_up(self, now: datetime, deadline: Deadline, cycle: Cycle) -> set[UUID]:
        """Everything that misses more: what is new, was away, or failed before. Return what moved on."""
        moved: set[UUID] = set()
        patience = Deadline.after(min(CATCHING_UP_SECONDS, deadline.remaining_seconds()))
        behind: dict[tuple[int, int, int, str], list[Watch]] = defaultdict(list)
        retries = 0
        for watch in self._watchlist:
            end = self._watchlist.end(watch, now)
            if watch.events is None or (
                watch.missing_since is None and watch.through is not None and watch.through >= end
            ):
                continue
            if watch.failures:
                if watch.retry_at > now.timestamp() or retries >= MOST_RETRIES:
                    continue
                retries += 1
            behind[_missing_since(watch, end), end, watch.seconds, watch.kept.instance or ""].append(watch)
        for (since, end, seconds, _), watches in sorted(behind.items(), key=lambda item: item[0], reverse=True):
            points = (end - since) // seconds
            together = max(1, min(100, MOST_VALUES // (2 * max(points, 1))))
            for first in range(0, len(watches), together):
                if patience.expired or watches[0].kept.instance in cycle.away:
                    break
                part = watches[first : first + together]
                moved |= await self._catch_up_together(part, since, end, now, deadline, cycle)
        return moved

    async def _keep_latest(self, watches: Sequence[Watch], answers: Answers, end: int, now: datetime) -> None:
        keys: list[Key] = []
        values: list[tuple[float, float]] = []
        for number, watch in enumerate(watches):
            if (counted := answers.counted.get(number)) is None:
                continue
            known = _at(watch, watch.question(number), counted, float(end))
            for group in watch.groups | known.keys():
                keys.append((watch.kept.id, group))
                values.append(known.get(group, (np.nan, np.nan)))
            watch.note(bool(known), end)
        if not keys:
            return
        seconds = watches[0].seconds
        good, total = np.array(values, dtype=float).T
        async with self._database.writing(now) as tx:
            await write_slice(tx.connection, keys, end - seconds, seconds, good, total)
        self._watchlist.append(keys, end - seconds, good, total)

    async def _catch_up_together(
        self, watches: Sequence[Watch], since: int, end: int, now: datetime, deadline: Deadline, cycle: Cycle
    ) -> set[UUID]:
        read: dict[Key, Slices] = {}
        answered = Answers()
        for moments in moments_of(since, end, watches[0].seconds):
            if len(answered.failed) == len(watches):
                break
            left = [(place, watch) for place, watch in enumerate(watches) if place not in answered.failed]
            answers = await self._ask([watch for _, watch in left], moments, deadline, cycle)
            if answers is None:
                return set()
            for number, (place, watch) in enumerate(left):
                if number in answers.failed:
                    answered.failed[place] = answers.failed[number]
                elif number in answers.counted:
                    answered.counted[place] = answers.counted[number]
                    _enter(read, watch, watch.question(number), answers.counted[number], since, end)
        failed = {watches[place].kept.id for place in answered.failed}
        read = {key: slices for key, slices in read.items() if key[0] not in failed}
        async with self._database.writing(now) as tx:
            await store(tx.connection, read)
        moved = _settle(watches, answered, end, now, cycle)
        for id in moved:
            self._watchlist[id].missing_since = None
        async with self._database.reading() as connection:
            loaded = await read_slices(connection, [self._watchlist[id].whole for id in moved])
        for (id, group), slices in loaded.items():
            self._watchlist.take_in(self._watchlist[id], group, slices)
        return moved

    async def _ask(
        self, watches: Sequence[Watch], moments: Moments, deadline: Deadline, cycle: Cycle
    ) -> Answers | None:
        """The answers of the Prometheus that all of them share, None where it cannot be asked."""
        instance = watches[0].kept.instance
        questions = [watch.question(number) for number, watch in enumerate(watches)]
        try:
            prometheus = self._prometheus.get(instance)
            answers = await ask(
                prometheus, questions, moments, timeout_seconds=self._query_timeout_seconds, deadline=deadline
            )
        except TelemetryError as error:
            cycle.away[instance] = error.message
            return None
        cycle.queries += answers.queries
        return answers


def _settle(watches: Sequence[Watch], answers: Answers, end: int, now: datetime, cycle: Cycle) -> set[UUID]:
    moved = set()
    for number, watch in enumerate(watches):
        if number in answers.failed:
            watch.failed(now.timestamp())
            cycle.found.append(Evaluated(watch.kept, failure=answers.failed[number]))
        elif number in answers.counted:
            watch.through = end
            watch.failures = 0
            moved.add(watch.kept.id)
    return moved


def _missing_since(watch: Watch, end: int) -> int:
    since = watch.needed_since(end) if watch.through is None else watch.missing_since or watch.through
    since = max(since, end - LONGEST_BACKFILL_SECONDS)
    return since // watch.seconds * watch.seconds


def _at(watch: Watch, question: Question, counted: Counted, at: float) -> dict[str, tuple[float, float]]:
    """Good and all events of each group at one time, and of all groups together. Nothing known is no group."""
    names = watch.kept.definition.group_by
    good = good_events(question, counted)
    known = {
        group_key(names, group): (good[group][at], totals[at])
        for group, totals in counted.total.items()
        if at in totals
    }
    if names and known:
        known[ALL] = (sum(good for good, _ in known.values()), sum(total for _, total in known.values()))
    return known


def _enter(read: dict[Key, Slices], watch: Watch, question: Question, counted: Counted, since: int, end: int) -> None:
    """Write counted events into the slices that were read so far."""
    names, seconds = watch.kept.definition.group_by, watch.seconds
    good = good_events(question, counted)
    for group, totals in counted.total.items():
        key = (watch.kept.id, group_key(names, group))
        slices = read.setdefault(key, unknown(1, since, end, seconds))
        if not totals:
            continue
        places = ((np.fromiter(totals, dtype=float) - since) / seconds - 0.5).astype(int)
        slices.total[0, places] = np.fromiter(totals.values(), dtype=float)
        slices.good[0, places] = np.fromiter((good[group][at] for at in totals), dtype=float)
    own = [slices for (id, key), slices in read.items() if id == watch.kept.id and key != ALL]
    whole = read.setdefault((watch.kept.id, ALL), unknown(1, since, end, seconds))
    if names and own:
        whole.good[0] = summed([slices.good[0] for slices in own])
        whole.total[0] = summed([slices.total[0] for slices in own])
