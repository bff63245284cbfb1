"""Many objectives in one query, and its answer taken apart again.

Each operand carries its own mark in the label `slo_id`, and all are joined by `or` as a balanced tree: a chain of them
takes Prometheus quadratic time, because every `or` compares all that came before it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from domain.errors import ValidationFailed
from engines.slo.indicators import Events

LABEL: Final = "slo_id"
MOST_OBJECTIVES: Final = 100
"""In one query: beyond it a balanced tree costs more than a second query."""
MOST_GROUPS: Final = 200
"""Of one objective."""

_PART: Final = "p"
_TOTAL: Final = "t"
_ROUNDING: Final = 1e-6

Group: TypeAlias = tuple[str, ...]
"""The values of the labels that an objective is grouped by, in their order; empty without grouping."""

Sample: TypeAlias = tuple[Mapping[str, str], Iterable[tuple[float, float | None]]]
"""Labels, and values at times in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for one objective: `number` tells it from the others of its batch."""

    number: int
    events: Events
    group_by: Sequence[str] = ()


@dataclass(slots=True)
class Counted:
    """Events of one objective by group, and by time in seconds since 1970: the part that was asked for, and all."""

    part: dict[Group, dict[float, float]] = field(default_factory=dict)
    total: dict[Group, dict[float, float]] = field(default_factory=dict)


def batches(questions: Sequence[Question], size: int = MOST_OBJECTIVES) -> Iterator[Sequence[Question]]:
    """The questions in groups that one query each can ask for."""
    for first in range(0, len(questions), size):
        yield questions[first : first + size]


def query(questions: Iterable[Question]) -> str:
    """One query for all of them."""
    return _tree([operand for question in questions for operand in _operands(question)])


def answers(questions: Iterable[Question], samples: Iterable[Sample]) -> dict[int, Counted | ValidationFailed]:
    """What came of each question, by its number; of a wrong answer (several series for one group, too many groups)
    what is wrong about it.
    """
    asked = {question.number: question for question in questions}
    found: dict[int, Counted | ValidationFailed] = {number: Counted() for number in asked}
    for labels, points in samples:
        mark = labels.get(LABEL, "")
        number = int(mark[:-1]) if mark[:-1].isdecimal() else None
        if number is None or number not in asked:
            continue  # Of a server that is no Prometheus: nothing that was asked.
        counted, question = found[number], asked[number]
        if isinstance(counted, ValidationFailed):
            continue
        group = tuple(labels.get(name, "") for name in question.group_by)
        side = counted.part if mark[-1] == _PART else counted.total
        if group in side:
            found[number] = _several(question, mark[-1])
        elif len(side) >= MOST_GROUPS:
            found[number] = ValidationFailed(
                f"The query returned more than {MOST_GROUPS} groups. Group by labels with fewer values."
            )
        else:
            side[group] = {at: value for at, value in points if value is not None}
    return found


def good_events(question: Question, counted: Counted) -> dict[Group, dict[float, float]]:
    """Good events wherever there are events at all: what is missing of the part that was asked for is zero."""
    good = {}
    for group, totals in counted.total.items():
        part = counted.part.get(group, {})
        if question.events.part_is_good:
            good[group] = {at: min(max(part.get(at, 0.0), 0.0), total) for at, total in totals.items()}
        else:
            good[group] = {at: min(max(total - part.get(at, 0.0), 0.0), total) for at, total in totals.items()}
    return good


def exceeding(counted: Counted) -> tuple[float, float] | None:
    """A part that is larger than its total, and that total: queries that count different things. None is right."""
    for group, totals in counted.total.items():
        for at, part in counted.part.get(group, {}).items():
            total = totals.get(at, 0.0)
            if part > total * (1 + _ROUNDING) + _ROUNDING:
                return part, total
    return None


def _several(question: Question, mark: str) -> ValidationFailed:
    which = "total" if mark == _TOTAL else "good" if question.events.part_is_good else "bad"
    wanted = f"one for each {', '.join(question.group_by)}" if question.group_by else "one"
    return ValidationFailed(
        f"The query of {which} events returned several series, expected {wanted}. Aggregate it, for example with sum()."
    )


def _operands(question: Question) -> Iterator[str]:
    for mark, expression in ((_PART, question.events.part), (_TOTAL, question.events.total)):
        yield f'label_replace({expression}, "{LABEL}", "{question.number}{mark}", "", "")'


def _tree(operands: Sequence[str]) -> str:
    """`((a or b) or (c or d))`: every operand takes part in as few comparisons as can be."""
    if len(operands) == 1:
        return operands[0]
    half = len(operands) // 2
    return f"({_tree(operands[:half])} or {_tree(operands[half:])})"
