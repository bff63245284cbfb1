"""Rules for many objectives, in one text."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from domain.objectives import ObjectiveDefinition
from engines.slo.rules import pyrra, sloth
from engines.slo.rules.groups import RuleFormat, RuleGroup, written
from engines.slo.rules.names import NotExpressible


class RuleDialect(StrEnum):
    """Whose names and labels rules have."""

    SLOTH = "SLOTH"
    PYRRA = "PYRRA"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An objective that has no rules, and why."""

    service: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class RuleFile:
    """Rules as YAML, and the objectives that are not in it."""

    text: str
    left_out: Sequence[LeftOut]


def rule_file(
    definitions: Iterable[ObjectiveDefinition],
    *,
    dialect: RuleDialect = RuleDialect.SLOTH,
    format: RuleFormat = RuleFormat.PLAIN,
    name: str = "reliability-studio-slos",
) -> RuleFile:
    """Rules for all of these objectives, by service and name. Those that have none are named at the top of the text."""
    found: list[RuleGroup] = []
    left_out, comments = [], []
    ordered = sorted(definitions, key=lambda one: (one.service, one.name))
    names = Counter(one.name for one in ordered)
    alerts = Counter(sloth.alert_name(one) for one in ordered)
    for definition in ordered:
        if dialect is RuleDialect.PYRRA and names[definition.name] > 1:  # Pyrra's series carry the name alone.
            definition = replace(definition, labels={**definition.labels, "service": definition.service})
        try:
            if dialect is RuleDialect.PYRRA:
                found += pyrra.groups(definition)
            else:
                found += sloth.groups(definition, shares_alert_names=alerts[sloth.alert_name(definition)] > 1)
        except NotExpressible as error:
            left_out.append(LeftOut(definition.service, definition.name, error.message))
            comments.append(f"No rules for {definition.service}/{definition.name}: {error.message}.")
        else:
            comments += sloth.remarks(definition)
    return RuleFile(written(_with_unique_names(found), format, name=name, comments=comments), tuple(left_out))


def _with_unique_names(groups: Iterable[RuleGroup]) -> Iterator[RuleGroup]:
    """Groups with a number behind a name that another has already: a file holds each name only once."""
    counts: Counter[str] = Counter()
    for group in groups:
        counts[group.name] += 1
        yield group if counts[group.name] == 1 else replace(group, name=f"{group.name}-{counts[group.name]}")
