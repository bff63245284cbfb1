"""The evaluation of all objectives: reads from Prometheus what is missing, keeps it, and says what follows."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import numpy as np
from sqlalchemy import select

from actions.slo_composites import composite_slices
from actions.slo_questions import Answers, Moments, ask
from actions.slo_records import PROMETHEUS_INSTANCE, read_all
from actions.slo_slices import ALL, Key, Stretch, group_key, read_slices, store, summed
from actions.slo_states import Evaluated, write_absence, write_broken, write_states
from actions.slo_watch import Watch
from db.arrays import among
from db.database import Database
from db.services import services
from db.slo_slices import write_slice
from db.slos import slo_states, slos
from domain.objectives import Composite
from domain.time import Deadline
from engines.slo.batches import Counted, Question, good_events
from engines.slo.budgets import Measurement
from engines.slo.ledger import EXCLUDED, Ledger
from engines.slo.series import judge, measure
from engines.slo.slices import Slices, unknown
from engines.slo.windows import DAY_SECONDS
from telemetry_clients.errors import TelemetryError
from telemetry_clients.instances import Instances
from telemetry_clients.prometheus import Prometheus

MOST_POINTS: Final = 10_000
"""Of one series in one range query; Prometheus allows 11 000."""
MOST_VALUES: Final = 60_000
"""In one answer to a range query."""
CATCHING_UP_SECONDS: Final = 30.0
"""Of one cycle: the history of many new objectives must not keep all others waiting."""
MOST_RETRIES: Final = 20
"""Of objectives whose queries failed, in one cycle."""
LONGEST_BACKFILL_SECONDS: Final = 366 * DAY_SECONDS

_CHUNK: Final = 500
_LOADED_AT_ONCE: Final = 50
"""Objectives with all of their slices: more take memory, and keep everything else in the process waiting."""
_RECENT_DAYS: Final = 3


@dataclass(slots=True)
class Cycle:
    """What one evaluation did: objectives that moved on, queries, objectives whose own query fails, and how late the
    latest of all is.
    """

    evaluated: int = 0
    queries: int = 0
    quarantined: int = 0
    lag_seconds: float = 0.0
    duration_seconds: float = 0.0
    away: dict[str | None, str] = field(default_factory=dict)
    """Why which Prometheus could not be asked."""
    found: list[Evaluated] = field(default_factory=list)

    @property
    def failure(self) -> str | None:
        """Why a Prometheus could not be asked, where one could not."""
        return next(iter(self.away.values()), None)


class SLOEvaluator:
    """Evaluates objectives from one cycle to the next. What it holds in memory can be read again from the database.

    A slice is read one scrape after its end, so that all of its samples are there.
    """

    def __init__(
        self,
        database: Database,
        prometheus: Instances[Prometheus],
        *,
        scrape_interval_seconds: float,
        query_timeout_seconds: float = 30.0,
        only: Sequence[UUID] | None = None,
    ) -> None:
        self._database = database
        self._prometheus = prometheus
        self._delay_seconds = scrape_interval_seconds
        self._query_timeout_seconds = query_timeout_seconds
        self._only = only
        self._watches: dict[UUID, Watch] = {}
        self._ledgers: dict[tuple[int, int], Ledger[Key]] = {}

    async def cycle(self, now: datetime, deadline: Deadline) -> Cycle:
        """Bring every objective up to date, as far as the deadline allows; the rest is left to the next cycle.

        Raises DatabaseUnavailable. Where a Prometheus is away nothing moves on, and `away` says so.
        """
        began = time.monotonic()
        cycle = Cycle()
        moved = await self._refresh(now)
        moved |= await self._read_latest(now, deadline, cycle)
        moved |= await self._catch_up(now, deadline, cycle)
        await self._evaluate(moved, now, cycle)
        await self._say_what_is_away(now, cycle)
        cycle.quarantined = sum(1 for watch in self._watches.values() if watch.failures)
        throughs = [watch.through for watch in self._watches.values() if watch.through and not watch.failures]
        cycle.lag_seconds = max(0.0, now.timestamp() - min(throughs)) if throughs else 0.0
        cycle.duration_seconds = time.monotonic() - began
        return cycle

    # What there is

    async def _refresh(self, now: datetime) -> set[UUID]:
        """Take in what is new or was changed, by people or by another process; return what has to be measured anew."""
        columns = (slos.c.id, slos.c.revision, PROMETHEUS_INSTANCE.label("instance"), slo_states.c.evaluated_through)
        statement = select(*columns).join(services).outerjoin(slo_states)
        if self._only is not None:
            statement = statement.where(among(slos.c.id, self._only))
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).all()
        known = {row.id: row for row in rows}
        for id in [id for id in self._watches if id not in known]:
            self._forget(self._watches.pop(id))
        stale = [row.id for row in rows if self._is_stale(row)]
        for first in range(0, len(stale), _LOADED_AT_ONCE):
            part = stale[first : first + _LOADED_AT_ONCE]
            await self._load(part, {id: _seconds(known[id].evaluated_through) for id in part})
        if broken := [id for id in stale if id not in self._watches]:
            await self._database.transact(partial(write_broken, ids=broken), now=now)
        return {id for id in stale if id in self._watches and self._watches[id].through is not None}

    def _is_stale(self, row: Any) -> bool:
        watch = self._watches.get(row.id)
        if watch is None or watch.through != _seconds(row.evaluated_through):
            return True
        return (watch.kept.revision, watch.kept.instance) != (row.revision, row.instance)

    async def _load(self, ids: Sequence[UUID], throughs: Mapping[UUID, int | None]) -> None:
        async with self._database.reading() as connection:
            for id in ids:
                if id in self._watches:
                    self._forget(self._watches.pop(id))
            watches = [Watch(one, throughs[one.id]) for one in await read_all(connection, ids)]
            self._watches |= {watch.kept.id: watch for watch in watches}
            read = await read_slices(connection, [_whole(watch) for watch in watches if watch.through is not None])
        for (id, group), slices in read.items():
            self._take_in(self._watches[id], group, slices)

    def _take_in(self, watch: Watch, group: str, slices: Slices) -> None:
        watch.groups.add(group)
        if watch.plan is not None:
            self._ledger(watch).load((watch.kept.id, group), watch.plan, watch.excluded(slices))

    def _ledger(self, watch: Watch) -> Ledger[Key]:
        key = watch.seconds, _recent_days(watch)
        if key not in self._ledgers:
            self._ledgers[key] = Ledger(*key)
        return self._ledgers[key]

    def _forget(self, watch: Watch) -> None:
        for group in watch.groups:
            for ledger in self._ledgers.values():
                ledger.forget((watch.kept.id, group))

    # What is missing

    async def _read_latest(self, now: datetime, deadline: Deadline, cycle: Cycle) -> set[UUID]:
        """One slice of everything that misses exactly one, a hundred to a query."""
        moved: set[UUID] = set()
        together: dict[tuple[int, str | None], list[Watch]] = defaultdict(list)
        for watch in self._watches.values():
            end = self._end(watch, now)
            if watch.events is not None and not watch.failures and watch.through == end - watch.seconds:
                together[watch.seconds, watch.kept.instance].append(watch)
        for (seconds, _), watches in together.items():
            end = self._end(watches[0], now)
            moment = datetime.fromtimestamp(end, UTC)
            answers = await self._ask(watches, Moments(moment, moment, seconds), deadline, cycle)
            if answers is None:
                continue
            await self._keep_latest(watches, answers, end, now)
            moved |= self._settle(watches, answers, end, now, cycle)
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
        self._append(keys, end - seconds, good, total)

    def _append(self, keys: Sequence[Key], at: int, good: np.ndarray, total: np.ndarray) -> None:
        by_ledger: dict[int, list[int]] = defaultdict(list)
        for place, (id, group) in enumerate(keys):
            watch = self._watches[id]
            watch.groups.add(group)
            if watch.plan is None:
                continue
            if (id, group) not in self._ledger(watch):
                self._take_in(watch, group, unknown(1, at // DAY_SECONDS * DAY_SECONDS, at, watch.seconds))
            if watch.is_excluded(at):
                good[place] = total[place] = EXCLUDED
            by_ledger[_recent_days(watch)].append(place)
        for days, places in by_ledger.items():
            ledger = self._ledgers[self._watches[keys[places[0]][0]].seconds, days]
            ledger.append([keys[place] for place in places], at, good[places], total[places])

    async def _catch_up(self, now: datetime, deadline: Deadline, cycle: Cycle) -> set[UUID]:
        """Everything that misses more: what is new, was away, or failed before."""
        moved: set[UUID] = set()
        patience = Deadline.after(min(CATCHING_UP_SECONDS, deadline.remaining_seconds()))
        behind: dict[tuple[int, int, int, str], list[Watch]] = defaultdict(list)
        retries = 0
        for watch in self._watches.values():
            end = self._end(watch, now)
            if watch.events is None or (
                watch.missing_since is None and watch.through is not None and watch.through >= end
            ):
                continue
            if watch.failures:
                if watch.retry_at > now.timestamp() or retries >= MOST_RETRIES:
                    continue
                retries += 1
            behind[self._missing_since(watch, end), end, watch.seconds, watch.kept.instance or ""].append(watch)
        for (since, end, seconds, _), watches in sorted(behind.items(), key=lambda item: item[0], reverse=True):
            points = (end - since) // seconds
            together = max(1, min(100, MOST_VALUES // (2 * max(points, 1))))
            for first in range(0, len(watches), together):
                if patience.expired or watches[0].kept.instance in cycle.away:
                    break
                part = watches[first : first + together]
                moved |= await self._catch_up_together(part, since, end, now, deadline, cycle)
        return moved

    async def _catch_up_together(
        self, watches: Sequence[Watch], since: int, end: int, now: datetime, deadline: Deadline, cycle: Cycle
    ) -> set[UUID]:
        seconds = watches[0].seconds
        read: dict[Key, Slices] = {}
        failed = Answers()
        for first in range(since, end, MOST_POINTS * seconds):
            last = min(end, first + MOST_POINTS * seconds)
            moments = Moments(datetime.fromtimestamp(first + seconds, UTC), datetime.fromtimestamp(last, UTC), seconds)
            left = [watch for number, watch in enumerate(watches) if number not in failed.failed]
            answers = await self._ask(left, moments, deadline, cycle)
            if answers is None:
                return set()
            for number, watch in enumerate(left):
                place = watches.index(watch)
                if number in answers.failed:
                    failed.failed[place] = answers.failed[number]
                elif number in answers.counted:
                    failed.counted[place] = answers.counted[number]
                    _enter(read, watch, watch.question(number), answers.counted[number], since, end)
        read = {key: slices for key, slices in read.items() if self._place(watches, key[0]) not in failed.failed}
        async with self._database.writing(now) as tx:
            await store(tx.connection, read)
        moved = self._settle(watches, failed, end, now, cycle)
        for id in moved:
            self._watches[id].missing_since = None
        async with self._database.reading() as connection:
            loaded = await read_slices(connection, [_whole(self._watches[id]) for id in moved])
        for (id, group), slices in loaded.items():
            self._take_in(self._watches[id], group, slices)
        return moved

    @staticmethod
    def _place(watches: Sequence[Watch], id: UUID) -> int:
        return next(place for place, watch in enumerate(watches) if watch.kept.id == id)

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

    async def _say_what_is_away(self, now: datetime, cycle: Cycle) -> None:
        for instance, reason in cycle.away.items():
            ids = [id for id, watch in self._watches.items() if watch.kept.instance == instance]
            await self._database.transact(partial(write_absence, ids=ids, reason=reason), now=now)

    def _settle(self, watches: Sequence[Watch], answers: Answers, end: int, now: datetime, cycle: Cycle) -> set[UUID]:
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

    def _end(self, watch: Watch, now: datetime) -> int:
        """The end of the latest slice that is over for long enough."""
        return int(now.timestamp() - self._delay_seconds) // watch.seconds * watch.seconds

    def _missing_since(self, watch: Watch, end: int) -> int:
        since = watch.needed_since(end) if watch.through is None else watch.missing_since or watch.through
        since = max(since, end - LONGEST_BACKFILL_SECONDS)
        return since // watch.seconds * watch.seconds

    # What follows

    async def _evaluate(self, moved: set[UUID], now: datetime, cycle: Cycle) -> None:
        """Measure what moved on, and every composite that has such a member; keep all of it."""
        watches = [self._watches[id] for id in moved]
        measured: dict[Key, Measurement] = {}
        in_memory: dict[tuple[int, int, int], list[Watch]] = defaultdict(list)
        for watch in watches:
            if watch.plan is not None and watch.through is not None:
                in_memory[watch.seconds, _recent_days(watch), watch.through].append(watch)
        for (_, _, through), together in in_memory.items():
            for first in range(0, len(together), _CHUNK):
                measured |= await self._measure_in_memory(together[first : first + _CHUNK], through)
                await asyncio.sleep(0)  # Others of this process have waited.
        alone = [watch for watch in watches if watch.plan is None and watch.events is not None]
        measured |= await self._measure_alone(alone)
        measured |= await self._measure_composites(now)
        found = [*cycle.found, *_evaluations(self._watches, measured)]
        cycle.found = found
        cycle.evaluated = len(moved)
        for first in range(0, len(found), _CHUNK):
            part = found[first : first + _CHUNK]
            await self._database.transact(partial(write_states, found=part), now=now)

    async def _measure_in_memory(self, watches: Sequence[Watch], through: int) -> dict[Key, Measurement]:
        at = datetime.fromtimestamp(through, UTC)
        ledger = self._ledger(watches[0])
        keys = [(watch.kept.id, group) for watch in watches for group in watch.groups]
        keys = [key for key in keys if key in ledger]
        cut = ledger.first_days(keys, at)
        first_days: dict[Key, Slices] = {}
        if cut:
            stretches = {id: Stretch(id, day, day + DAY_SECONDS, watches[0].seconds) for (id, _), day in cut}
            async with self._database.reading() as connection:
                read = await read_slices(connection, stretches.values())
            first_days = {key: self._watches[key[0]].excluded(slices) for key, slices in read.items()}
        return ledger.measure(keys, at, first_days)

    async def _measure_alone(self, watches: Iterable[Watch]) -> dict[Key, Measurement]:
        """Objectives of which not all slices are judged alike, one by one."""
        measured = {}
        for watch in watches:
            if watch.through is None:
                continue
            async with self._database.reading() as connection:
                read = await read_slices(connection, [watch.stretch(watch.through)])
            at = datetime.fromtimestamp(watch.through, UTC)
            for key, slices in read.items():
                measured[key] = measure(judge(slices, watch.kept.record), watch.promise, at)
        return measured

    async def _measure_composites(self, now: datetime) -> dict[Key, Measurement]:
        measured: dict[Key, Measurement] = {}
        for watch in self._watches.values():
            composite = watch.kept.definition.indicator
            if not isinstance(composite, Composite):
                continue
            end = self._end(watch, now)
            if watch.through == end:
                continue
            async with self._database.reading() as connection:
                judged = await composite_slices(connection, watch.kept, watch.needed_since(end), end)
            at = datetime.fromtimestamp(end, UTC)
            measured[watch.kept.id, ALL] = measure(judged, watch.promise, at)
            watch.through = end
        return measured


def _evaluations(watches: Mapping[UUID, Watch], measured: Mapping[Key, Measurement]) -> list[Evaluated]:
    groups: dict[UUID, dict[str, Measurement]] = defaultdict(dict)
    for (id, group), measurement in measured.items():
        if group != ALL:
            groups[id][group] = measurement
    return [
        Evaluated(watches[id].kept, measurement, groups.get(id))
        for (id, group), measurement in measured.items()
        if group == ALL
    ]


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


def _whole(watch: Watch) -> Stretch:
    """Everything of an objective that counts, until where it was evaluated."""
    return watch.stretch(watch.through or 0)


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _recent_days(watch: Watch) -> int:
    """How many days of slices its burn rates look back over."""
    return max(_RECENT_DAYS, -(-watch.longest_seconds // DAY_SECONDS))
