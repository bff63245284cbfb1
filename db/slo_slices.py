"""Slices as they are stored: one row an objective, group and day, read and written for many objectives at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Numbers: TypeAlias = NDArray[np.float64]

DAY_SECONDS: Final = 86_400

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_ARRAY_HEADER_BYTES: Final = 20
_ELEMENT: Final = np.dtype([("length", ">i4"), ("value", ">f8")])
_READ: Final = text(
    "select kept.slo_id, kept.group_key, kept.day, kept.slice_seconds, array_send(kept.good), array_send(kept.total)"
    " from unnest(cast(:ids as uuid[]), cast(:since as date[]), cast(:until as date[])) wanted(id, since, until)"
    " join slo_slices kept on kept.slo_id = wanted.id and kept.day between wanted.since and wanted.until"
    " order by kept.slo_id, kept.group_key, kept.day"
)
_MAKE_DAYS: Final = text(
    "insert into slo_slices (slo_id, group_key, day, slice_seconds, good, total)"
    " select id, group_key, :day, :seconds, empty.slices, empty.slices"
    " from unnest(cast(:ids as uuid[]), cast(:groups as text[])) new(id, group_key),"
    " (select array_fill('NaN'::double precision, array[:count]) slices) empty"
    " on conflict do nothing"
)
_WRITE_SLICE: Final = text(
    "update slo_slices kept set good[:place] = new.good, total[:place] = new.total"
    " from unnest(cast(:ids as uuid[]), cast(:groups as text[]), cast(:good as double precision[]),"
    " cast(:total as double precision[])) new(id, group_key, good, total)"
    " where kept.slo_id = new.id and kept.group_key = new.group_key and kept.day = :day"
)
_WRITE_DAYS: Final = text(
    "insert into slo_slices (slo_id, group_key, day, slice_seconds, good, total)"
    " select id, group_key, day, seconds, cast(good as double precision[]), cast(total as double precision[])"
    " from unnest(cast(:ids as uuid[]), cast(:groups as text[]), cast(:days as date[]), cast(:seconds as int[]),"
    " cast(:good as text[]), cast(:total as text[])) new(id, group_key, day, seconds, good, total)"
    " on conflict (slo_id, group_key, day) do update"
    " set slice_seconds = excluded.slice_seconds, good = excluded.good, total = excluded.total"
)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of one objective, or of one group of it: good and all events in each of its slices, NaN for unknown."""

    slo_id: UUID
    group_key: str
    day: date
    slice_seconds: int
    good: Numbers
    total: Numbers


@dataclass(frozen=True, slots=True)
class Wanted:
    """The days of one objective that somebody asks for, both ends included."""

    slo_id: UUID
    since: date
    until: date


async def read_days(connection: AsyncConnection, wanted: Iterable[Wanted]) -> list[Day]:
    """What is stored of these days, in the order of objectives, groups and days."""
    asked = list(wanted)
    rows = await connection.execute(
        _READ,
        {
            "ids": [one.slo_id for one in asked],
            "since": [one.since for one in asked],
            "until": [one.until for one in asked],
        },
    )
    return [
        Day(id, group, day, seconds, _numbers(good), _numbers(total)) for id, group, day, seconds, good, total in rows
    ]


async def write_slice(
    connection: AsyncConnection,
    keys: Sequence[tuple[UUID, str]],
    at: int,
    seconds: int,
    good: Numbers,
    total: Numbers,
) -> None:
    """The slice that begins at `at` (seconds since 1970) of many objectives and groups at once."""
    if not keys:
        return
    parameters: dict[str, Any] = {
        "ids": [id for id, _ in keys],
        "groups": [group for _, group in keys],
        "day": _date(at),
    }
    place = at % DAY_SECONDS // seconds + 1
    values = {"place": place, "good": good.tolist(), "total": total.tolist()}
    written = await connection.execute(_WRITE_SLICE, parameters | values)
    if written.rowcount < len(keys):  # Some begin their day.
        await connection.execute(_MAKE_DAYS, {**parameters, "seconds": seconds, "count": DAY_SECONDS // seconds})
        await connection.execute(_WRITE_SLICE, parameters | values)


async def write_days(connection: AsyncConnection, days: Sequence[Day]) -> None:
    """Whole days, in place of what is stored of them."""
    if not days:
        return
    await connection.execute(
        _WRITE_DAYS,
        {
            "ids": [day.slo_id for day in days],
            "groups": [day.group_key for day in days],
            "days": [day.day for day in days],
            "seconds": [day.slice_seconds for day in days],
            "good": [_literal(day.good) for day in days],
            "total": [_literal(day.total) for day in days],
        },
    )


def _numbers(sent: bytes) -> Numbers:
    """The numbers of an array in Postgres' binary format: five integers, then each number with its length before it."""
    numbers: Numbers = np.frombuffer(sent, _ELEMENT, offset=_ARRAY_HEADER_BYTES)["value"].astype(float)
    return numbers


def _literal(numbers: Numbers) -> str:
    return "{" + ",".join(map(repr, numbers.tolist())) + "}"


def _date(seconds: int) -> date:
    return date.fromordinal(seconds // DAY_SECONDS + _EPOCH_ORDINAL)
