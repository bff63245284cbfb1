"""All objectives under evaluation, with what of them is held in memory."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import numpy as np
from sqlalchemy import select

from actions.slos.records import PROMETHEUS_INSTANCE, read_all
from actions.slos.slices import Key, read_slices
from actions.slos.states import write_broken
from actions.slos.watch import Watch
from db.arrays import among
from db.database import Database
from db.services import services
from db.slos import slo_states, slos
from engines.slo.ledger import EXCLUDED, Ledger
from engines.slo.slices import Slices, unknown
from engines.slo.windows import DAY_SECONDS

_LOADED_AT_ONCE: Final = 50
"""Objectives with all of their slices: more take memory, and keep everything else in the process waiting."""


class Watchlist:
    """The objectives (or `only` some of them) and the ledgers that their slices are in. All of it can be read again
    from the database.

    A slice is over `delay_seconds` after its end: one scrape, so that all of its samples are there.
    """

    def __init__(self, database: Database, *, delay_seconds: float, only: Sequence[UUID] | None = None) -> None:
        self._database = database
        self._delay_seconds = delay_seconds
        self._only = only
        self._watches: dict[UUID, Watch] = {}
        self._ledgers: dict[tuple[int, int], Ledger[Key]] = {}

    def __getitem__(self, id: UUID) -> Watch:
        return self._watches[id]

    def __iter__(self) -> Iterator[Watch]:
        return iter(self._watches.values())

    async def refresh(self, now: datetime) -> set[UUID]:
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

    def end(self, watch: Watch, now: datetime) -> int:
        """The end of the latest slice that is over for long enough."""
        return int(now.timestamp() - self._delay_seconds) // watch.seconds * watch.seconds

    def ledger(self, watch: Watch) -> Ledger[Key]:
        """Where its slices are: with those of all that have slices as long, and look back as far."""
        key = watch.seconds, watch.recent_days
        if key not in self._ledgers:
            self._ledgers[key] = Ledger(*key)
        return self._ledgers[key]

    def take_in(self, watch: Watch, group: str, slices: Slices) -> None:
        """Hold the slices of one of its groups, instead of those held so far."""
        watch.groups.add(group)
        if watch.plan is not None:
            self.ledger(watch).load((watch.kept.id, group), watch.plan, watch.excluded(slices))

    def append(self, keys: Sequence[Key], at: int, good: np.ndarray, total: np.ndarray) -> None:
        """Hold one slice more of each key, the one that begins at `at` (seconds since 1970)."""
        by_ledger: dict[int, list[int]] = defaultdict(list)
        for place, (id, group) in enumerate(keys):
            watch = self._watches[id]
            watch.groups.add(group)
            if watch.plan is None:
                continue
            if (id, group) not in self.ledger(watch):
                self.take_in(watch, group, unknown(1, at // DAY_SECONDS * DAY_SECONDS, at, watch.seconds))
            if watch.is_excluded(at):
                good[place] = total[place] = EXCLUDED
            by_ledger[watch.recent_days].append(place)
        for days, places in by_ledger.items():
            ledger = self._ledgers[self._watches[keys[places[0]][0]].seconds, days]
            ledger.append([keys[place] for place in places], at, good[places], total[places])

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
            read = await read_slices(connection, [watch.whole for watch in watches if watch.through is not None])
        for (id, group), slices in read.items():
            self.take_in(self._watches[id], group, slices)

    def _forget(self, watch: Watch) -> None:
        for group in watch.groups:
            for ledger in self._ledgers.values():
                ledger.forget((watch.kept.id, group))


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
