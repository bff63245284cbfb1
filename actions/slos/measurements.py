"""What the slices of objectives add up to, measured for many at once where they are judged alike."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from actions.slos.composites import composite_slices
from actions.slos.slices import ALL, Key, Stretch, read_slices
from actions.slos.watch import Watch
from actions.slos.watchlist import Watchlist
from db.database import Database
from domain.objectives import Composite
from engines.slo.budgets import Measurement
from engines.slo.series import judge, measure
from engines.slo.slices import Slices
from engines.slo.windows import DAY_SECONDS

_CHUNK: Final = 500


async def measured(database: Database, watchlist: Watchlist, moved: Set[UUID], now: datetime) -> dict[Key, Measurement]:
    """The measurements of what moved on, and of every composite of which slices are over since it was measured."""
    watches = [watchlist[id] for id in moved]
    found: dict[Key, Measurement] = {}
    in_memory: dict[tuple[int, int, int], list[Watch]] = defaultdict(list)
    for watch in watches:
        if watch.plan is not None and watch.through is not None:
            in_memory[watch.seconds, watch.recent_days, watch.through].append(watch)
    for (_, _, through), together in in_memory.items():
        for first in range(0, len(together), _CHUNK):
            found |= await _measured_in_memory(database, watchlist, together[first : first + _CHUNK], through)
            await asyncio.sleep(0)  # Others of this process have waited.
    alone = [watch for watch in watches if watch.plan is None and watch.events is not None]
    found |= await _measured_alone(database, alone)
    found |= await _measured_composites(database, watchlist, now)
    return found


async def _measured_in_memory(
    database: Database, watchlist: Watchlist, watches: Sequence[Watch], through: int
) -> dict[Key, Measurement]:
    at = datetime.fromtimestamp(through, UTC)
    ledger = watchlist.ledger(watches[0])
    keys = [(watch.kept.id, group) for watch in watches for group in watch.groups]
    keys = [key for key in keys if key in ledger]
    cut = ledger.first_days(keys, at)
    first_days: dict[Key, Slices] = {}
    if cut:
        stretches = {id: Stretch(id, day, day + DAY_SECONDS, watches[0].seconds) for (id, _), day in cut}
        async with database.reading() as connection:
            read = await read_slices(connection, stretches.values())
        first_days = {key: watchlist[key[0]].excluded(slices) for key, slices in read.items()}
    return ledger.measure(keys, at, first_days)


async def _measured_alone(database: Database, watches: Iterable[Watch]) -> dict[Key, Measurement]:
    """Objectives of which not all slices are judged alike, one by one."""
    found = {}
    for watch in watches:
        if watch.through is None:
            continue
        async with database.reading() as connection:
            read = await read_slices(connection, [watch.stretch(watch.through)])
        at = datetime.fromtimestamp(watch.through, UTC)
        for key, slices in read.items():
            found[key] = measure(judge(slices, watch.kept.record), watch.promise, at)
    return found


async def _measured_composites(database: Database, watchlist: Watchlist, now: datetime) -> dict[Key, Measurement]:
    found: dict[Key, Measurement] = {}
    for watch in watchlist:
        composite = watch.kept.definition.indicator
        if not isinstance(composite, Composite):
            continue
        end = watchlist.end(watch, now)
        if watch.through == end:
            continue
        async with database.reading() as connection:
            judged = await composite_slices(connection, watch.kept, watch.needed_since(end), end)
        at = datetime.fromtimestamp(end, UTC)
        found[watch.kept.id, ALL] = measure(judged, watch.promise, at)
        watch.through = end
    return found
