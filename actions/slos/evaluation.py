"""The evaluation of all objectives: reads from Prometheus what is missing, keeps it, and says what follows."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from actions.slos.cycle import Cycle
from actions.slos.measurements import measured
from actions.slos.missing_slices import MissingSlices
from actions.slos.slices import ALL, Key
from actions.slos.states import Evaluated, write_absence, write_states
from actions.slos.watchlist import Watchlist
from db.database import Database
from domain.time import Deadline
from engines.slo.budgets import Measurement
from telemetry_clients.instances import Instances
from telemetry_clients.prometheus import Prometheus

_WRITTEN_AT_ONCE: Final = 500


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
        self._watchlist = Watchlist(database, delay_seconds=scrape_interval_seconds, only=only)
        self._missing = MissingSlices(
            database, prometheus, self._watchlist, query_timeout_seconds=query_timeout_seconds
        )

    async def cycle(self, now: datetime, deadline: Deadline) -> Cycle:
        """Bring every objective up to date, as far as the deadline allows; the rest is left to the next cycle.

        Raises DatabaseUnavailable. Where a Prometheus is away nothing moves on, and `away` says so.
        """
        began = time.monotonic()
        cycle = Cycle()
        moved = await self._watchlist.refresh(now)
        moved |= await self._missing.read_latest(now, deadline, cycle)
        moved |= await self._missing.catch_up(now, deadline, cycle)
        await self._evaluate(moved, now, cycle)
        await self._say_what_is_away(now, cycle)
        cycle.quarantined = sum(1 for watch in self._watchlist if watch.failures)
        throughs = [watch.through for watch in self._watchlist if watch.through and not watch.failures]
        cycle.lag_seconds = max(0.0, now.timestamp() - min(throughs)) if throughs else 0.0
        cycle.duration_seconds = time.monotonic() - began
        return cycle

    async def _evaluate(self, moved: set[UUID], now: datetime, cycle: Cycle) -> None:
        """Keep what moved on, and the composites, as they are measured now; and what failed."""
        measurements = await measured(self._database, self._watchlist, moved, now)
        cycle.found += _evaluations(self._watchlist, measurements)
        cycle.evaluated = len(moved)
        for first in range(0, len(cycle.found), _WRITTEN_AT_ONCE):
            part = cycle.found[first : first + _WRITTEN_AT_ONCE]
            await self._database.transact(partial(write_states, found=part), now=now)

    async def _say_what_is_away(self, now: datetime, cycle: Cycle) -> None:
        for instance, reason in cycle.away.items():
            ids = [watch.kept.id for watch in self._watchlist if watch.kept.instance == instance]
            await self._database.transact(partial(write_absence, ids=ids, reason=reason), now=now)


def _evaluations(watchlist: Watchlist, measurements: Mapping[Key, Measurement]) -> list[Evaluated]:
    groups: dict[UUID, dict[str, Measurement]] = defaultdict(dict)
    for (id, group), measurement in measurements.items():
        if group != ALL:
            groups[id][group] = measurement
    return [
        Evaluated(watchlist[id].kept, measurement, groups.get(id))
        for (id, group), measurement in measurements.items()
        if group == ALL
    ]
