"""Values to ask for, such that many of them are found."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from tests.resolvers.awkward_values import OBJECTS, RATIOS, TEXTS, TIMES
from tests.resolvers.rows_by_table import Rows

ABSENT = object()
"""Not given at all, which differs from null."""

WORDS = (
    "checkout down",
    '"double quotes"',
    "x -quotes",
    "or",
    "",
    "'",
    "🚨",
    "漢字",
    "& | ! :* ( <->",
    "\\",
    "payments OR x",
)
INDIA = timezone(timedelta(hours=5, minutes=30))


@dataclass(frozen=True)
class Values:
    """Values by the name of the argument or input field that takes them, and their type."""

    scalars: Mapping[tuple[str, str], Sequence[Any]]
    ranges: Sequence[dict[str, Any]]
    cursors: Mapping[tuple[str, str], Sequence[str]]
    """Of real rows, by connection type and order."""

    wrong_scalars: Mapping[tuple[str, str], Sequence[Any]]
    wrong_ranges: Sequence[dict[str, Any]]
    wrong_cursors: Sequence[str]

    def of(self, name: str, type_: str, *, mistaken: bool = False) -> Sequence[Any]:
        """What there is to choose from."""
        names = (name, name.rpartition(".")[2], "")
        known = [self.wrong_scalars, self.scalars] if mistaken else [self.scalars]
        return next(choices[part, type_] for choices in known for part in names if (part, type_) in choices)


def values_of(rows: Rows, cursors: Mapping[tuple[str, str], Sequence[str]]) -> Values:
    """What to ask for where these rows are stored."""
    ids = [str(row["id"]) for table in rows.values() for row in table if "id" in row]
    services = [row["name"] for row in rows["services"]] + [str(row["id"]) for row in rows["services"]]
    times = [written for time in TIMES for written in _written(time)]
    unknown = [str(UUID(int=0)), "not an id", "", ids[0].upper(), f"{{{ids[0]}}}"]
    return Values(
        scalars={
            ("", "ID"): ids + unknown,
            **{(f"{noun}.id", "ID"): _ids(rows[f"{noun}s"]) + unknown for noun in ("incident", "service", "slo")},
            ("incidentId", "ID"): _ids(rows["incidents"]) + unknown,
            ("number", "Int"): [*range(1, len(rows["incidents"]) + 1), 0, -1, 2**31 - 1],
            ("stepSeconds", "Int"): [60, 100_000, 1, None],
            ("incidentNumber", "Int"): [1, 0, None],
            ("query", "String"): ["up", " "],
            ("instance", "String"): ["default", "mars", None],
            ("tier", "Int"): [1, 2, 3, -(2**31)],
            ("name", "String"): [*services, services[0].upper(), *(row["name"] for row in rows["alerts"])],
            ("services", "String"): [*services, services[0].upper(), "nothing"],
            ("team", "String"): [*(row["name"] for row in rows["teams"]), str(rows["teams"][0]["id"]), ""],
            ("search", "String"): WORDS,
            ("", "String"): TEXTS,
            ("minScore", "Float"): [*RATIOS, 0, 1, -1e308],
            ("minDurationSeconds", "Float"): [0, 0.05, 0.5, -1, 1e308],
            ("traceId", "ID"): ["1", "2", f"{3:032X}", "fff", "no id", ""],
            ("", "Boolean"): [True, False],
            ("", "Int"): [1, 300, 0, -1, 2**31 - 1],
            ("", "Float"): [0.99, 0.5, 300.0, -1.0, 1e308],
            ("", "DateTime"): times,
            ("", "JSON"): [*OBJECTS, {"env": "prod", "nested": {}}, {"nested": {"list": [1]}}],
        },
        ranges=[
            {"range": {"from": _written(start)[0], "to": _written(end)[-1]}, "bucketSeconds": seconds}
            for start, end, seconds in (
                (TIMES[1], TIMES[5], ABSENT),
                (TIMES[1], TIMES[5], None),
                (TIMES[1], TIMES[5], 100_000),
                (TIMES[0], TIMES[2], 2**31 - 1),
                (TIMES[4], TIMES[3], 1),
                (TIMES[6], TIMES[5], 500_000_000),
            )
        ],
        cursors=cursors,
        wrong_scalars={
            ("search", "String"): ["NUL \0", "\ud800 alone"],
            ("name", "String"): ["\0"],
            ("services", "String"): ["\0", "\udfff"],
            ("labels", "JSON"): [
                [],
                "text",
                5,
                {"a": "\0"},
                {"\0": ""},
                {"a": 10**30},
                {"\ud800": "a"},
                [[None]],
                True,
            ],
        },
        wrong_ranges=[
            {"range": {"from": _written(start)[0], "to": _written(end)[0]}, "bucketSeconds": seconds}
            for start, end, seconds in (
                (TIMES[5], TIMES[1], ABSENT),
                (TIMES[1], TIMES[1], 60),
                (TIMES[6], TIMES[5], None),
                (TIMES[1], TIMES[5], 1),
                (TIMES[1], TIMES[5], 0),
                (TIMES[1], TIMES[5], -5),
                (TIMES[1], TIMES[5], 100_000),
            )
        ],
        wrong_cursors=["", "garbage", "é", "e30=", "W10=", *(found[0] for found in cursors.values())],
    )


def _ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(row["id"]) for row in rows]


def _written(time: datetime) -> list[str]:
    return [time.isoformat(), time.isoformat().replace("+00:00", "Z"), time.astimezone(INDIA).isoformat()]


def can_be_literal(value: Any) -> bool:
    """Whether the names of all members are names in GraphQL."""
    if isinstance(value, dict):
        return all(re.fullmatch(r"[_A-Za-z]\w*", name, re.ASCII) for name in value) and all(
            map(can_be_literal, value.values())
        )
    return all(map(can_be_literal, value)) if isinstance(value, list) else True
