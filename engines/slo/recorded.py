"""Ratios that recording rules have worked out already: read many at once with one selector, instead of one by one."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import promql_parser

from domain.errors import ValidationFailed
from engines.slo.batches import Counted, Question, Sample

MOST_VALUES: Final = 500
"""Alternatives in one regular expression."""

_TELLING_LABELS: Final = ("sloth_id", "slo")
"""Labels that tell one objective from another, as Sloth's and Pyrra's rules have them."""

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9 _:/@,-]+")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded series: its metric, its matchers, and the label of them that tells it from others."""

    metric: str
    labels: Mapping[str, str]
    label: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Questions that one selector answers."""

    expression: str
    label: str
    questions: Sequence[tuple[Question, Recorded]]


def recorded(question: Question) -> Recorded | None:
    """The recorded series that a question asks for, None where it asks for more than that."""
    if question.events.recorded is None or question.group_by:
        return None
    parsed = promql_parser.parse(question.events.recorded)
    if not isinstance(parsed, promql_parser.VectorSelector) or parsed.name is None:
        return None
    if parsed.offset is not None or parsed.at is not None or parsed.matchers.or_matchers:
        return None
    matchers = parsed.matchers.matchers
    if any(one.op != promql_parser.MatchOp.Equal or not _PLAIN_VALUE.fullmatch(one.value) for one in matchers):
        return None
    labels = {one.name: one.value for one in matchers}
    label = next((name for name in _TELLING_LABELS if name in labels), None)
    return None if label is None else Recorded(parsed.name, labels, label)


def selections(questions: Iterable[Question]) -> tuple[list[Selection], list[Question]]:
    """The questions that selectors answer, a few hundred each, and those that have to be asked as they are."""
    by_metric: dict[tuple[str, str], list[tuple[Question, Recorded]]] = defaultdict(list)
    others = []
    for question in questions:
        found = recorded(question)
        if found is None:
            others.append(question)
        else:
            by_metric[found.metric, found.label].append((question, found))
    selected = []
    for (metric, label), asked in by_metric.items():
        for first in range(0, len(asked), MOST_VALUES):
            part = asked[first : first + MOST_VALUES]
            values = "|".join(dict.fromkeys(one.labels[label] for _, one in part))
            selected.append(Selection(f'{metric}{{{label}=~"{values}"}}', label, part))
    return selected, others


def selected_answers(selection: Selection, samples: Iterable[Sample]) -> dict[int, Counted | ValidationFailed]:
    """What came of each question of a selection: its ratio, of one event."""
    by_value: dict[str, list[Sample]] = defaultdict(list)
    for labels, points in samples:
        by_value[labels.get(selection.label, "")].append((labels, points))
    found: dict[int, Counted | ValidationFailed] = {}
    for question, one in selection.questions:
        matching = [
            points
            for labels, points in by_value[one.labels[one.label]]
            if all(labels.get(name) == value for name, value in one.labels.items())
        ]
        if len(matching) > 1:
            found[question.number] = ValidationFailed(
                "The ratio query returned several series, expected one. Select it by more labels."
            )
            continue
        known = {at: value for points in matching for at, value in points if value is not None}
        found[question.number] = Counted({(): known}, {(): dict.fromkeys(known, 1.0)}) if known else Counted()
    return found
