"""Slices between the database, where a row is a day, and the arithmetic, where a row is an objective."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Final, TypeAlias
from uuid import UUID

import numpy as np
import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from db.slo_slices import Day, Wanted, read_days, write_days
from engines.slo.batches import Group
from engines.slo.slices import Numbers, Slices, resampled, unknown
from engines.slo.windows import DAY_SECONDS

Key: TypeAlias = tuple[UUID, str]
"""An objective and the key of one of its groups, "" for all of them together."""

ALL: Final = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slices of one objective that somebody asks for, from `start` until `end` in seconds since 1970."""

    slo_id: UUID
    start: int
    end: int
    seconds: int


def group_key(names: Sequence[str], group: Group) -> str:
    """The key of a group: its labels as JSON, "" without grouping."""
    return orjson.dumps(dict(zip(names, group, strict=True))).decode() if names else ALL


async def read_slices(connection: AsyncConnection, stretches: Iterable[Stretch]) -> dict[Key, Slices]:
    """What is stored of these stretches, one row each, in one statement. An objective always has its key ALL."""
    wanted = {stretch.slo_id: stretch for stretch in stretches}
    if not wanted:
        return {}
    days = await read_days(
        connection,
        [Wanted(one.slo_id, day_of(one.start), day_of(max(one.end - 1, one.start))) for one in wanted.values()],
    )
    found: dict[Key, Slices] = {}
    for (slo_id, group), rows in groupby(days, key=lambda day: (day.slo_id, day.group_key)):
        stretch = wanted[slo_id]
        found[slo_id, group] = assembled(rows, stretch.start, stretch.end, stretch.seconds)
    for one in wanted.values():
        found.setdefault((one.slo_id, ALL), unknown(1, one.start, one.end, one.seconds))
    return found


def assembled(days: Iterable[Day], start: int, end: int, seconds: int) -> Slices:
    """The slices from `start` until `end`, of which nothing is known on days that are not given."""
    slices = unknown(1, start, end, seconds)
    for day in days:
        begins = (start_of(day.day) - start) // seconds
        for values, kept in ((slices.good, day.good), (slices.total, day.total)):
            _overlay(values[0], begins, resampled(kept, day.slice_seconds, seconds))
    return slices


async def store(connection: AsyncConnection, read: Mapping[Key, Slices]) -> None:
    """Write slices (one row each) over what is stored of their time, and leave the rest of their days as it is."""
    if not read:
        return
    stretches = [Stretch(id, _floor(one.start), _ceiling(one.end), one.seconds) for (id, _), one in read.items()]
    kept = await read_slices(connection, stretches)
    days = []
    for (slo_id, group), slices in read.items():
        start, end = _floor(slices.start), _ceiling(slices.end)
        whole = kept.get((slo_id, group)) or unknown(1, start, end, slices.seconds)
        whole = _widened(whole, start, end)
        first = (slices.start - start) // slices.seconds
        _overlay(whole.good[0], first, slices.good[0])
        _overlay(whole.total[0], first, slices.total[0])
        days += _by_day(slo_id, group, whole)
    await write_days(connection, days)


def day_of(seconds: float) -> date:
    """The day (UTC) of a moment in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).date()


def start_of(day: date) -> int:
    """The start of a day (UTC) in seconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _by_day(slo_id: UUID, group: str, whole: Slices) -> list[Day]:
    per_day = DAY_SECONDS // whole.seconds
    first = day_of(whole.start)
    return [
        Day(
            slo_id,
            group,
            first + timedelta(days=number),
            whole.seconds,
            whole.good[0, number * per_day : (number + 1) * per_day],
            whole.total[0, number * per_day : (number + 1) * per_day],
        )
        for number in range(whole.total.shape[1] // per_day)
    ]


def _widened(slices: Slices, start: int, end: int) -> Slices:
    if (slices.start, slices.end) == (start, end):
        return slices
    whole = unknown(1, start, end, slices.seconds)
    first = (slices.start - start) // slices.seconds
    _overlay(whole.good[0], first, slices.good[0])
    _overlay(whole.total[0], first, slices.total[0])
    return whole


def _overlay(values: Numbers, first: int, more: Numbers) -> None:
    """Write `more` into `values` from the place `first` on, as far as it fits."""
    skipped = max(-first, 0)
    place = max(first, 0)
    count = min(len(more) - skipped, len(values) - place)
    if count > 0:
        values[place : place + count] = more[skipped : skipped + count]


def summed(rows: Sequence[Numbers]) -> Numbers:
    """The sum of what is known in several rows, NaN where nothing is."""
    stacked = np.vstack(rows)
    known = ~np.isnan(stacked)
    return np.where(known.any(axis=0), np.where(known, stacked, 0).sum(axis=0), np.nan)


def _floor(seconds: int) -> int:
    return seconds // DAY_SECONDS * DAY_SECONDS


def _ceiling(seconds: int) -> int:
    return -(-seconds // DAY_SECONDS) * DAY_SECONDS
