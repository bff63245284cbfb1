"""OpenSLO's alert policies as burn-rate alerts.

A condition of OpenSLO has one window, and its alert waits for `alertAfter`; here an alert has two windows, of which the
short one lets it end soon. A condition becomes a pair whose short window is the one that it was written with here
(SHORT_WINDOW), or else `alertAfter`, or else the long one: an alert on one window.
"""

from dataclasses import dataclass
from typing import Final

from domain.objectives import Alerting, AlertMessage, BurnRateAlert
from domain.slos import BurnResponse
from engines.slo.formats import durations, objectives
from engines.slo.formats.limits import LONGEST_SECONDS
from engines.slo.formats.values import Members, Value

SHORT_WINDOW: Final = "reliability-studio.dev/short-window"
_OPERATORS: Final = ("lte", "gte", "lt", "gt")
_WHEN: Final = ("alertWhenNoData", "alertWhenResolved", "alertWhenBreaching")
_DISABLED: Final = AlertMessage(is_enabled=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """Policies, conditions and targets of a text, by name."""

    policies: dict[str, Value]
    conditions: dict[str, Value]
    targets: dict[str, Value]


def alerting(policies: Value | None, parts: Parts) -> Alerting:
    """The alerting that policies ask for. None at all means the usual pairs for the window."""
    given = [] if policies is None else policies.items()
    if not given:
        return Alerting()
    pairs = [pair for policy in given for pair in _policy(policy, parts)]
    if not pairs:
        return Alerting(page=_DISABLED, ticket=_DISABLED)
    return Alerting(burn_rates=tuple(_with_unique_names(pairs)))


def _policy(given: Value, parts: Parts) -> list[BurnRateAlert]:
    policy = resolve(given, "alertPolicyRef", "AlertPolicy", parts.policies)
    if policy is None:
        return []
    name, spec = policy
    members = spec.members(("description", *_WHEN, "conditions", "notificationTargets"))
    if members.truth("alertWhenNoData", default=False):
        members.given("alertWhenNoData").notice("is left out: no data shows as the status NO_DATA, and alerts nobody")
    _look_at_targets(members.get("notificationTargets"), parts)
    conditions = members.require("conditions")
    items = [] if conditions is None else conditions.items()
    if conditions is not None and len(items) != 1:
        conditions.refuse("must hold exactly one condition")
    if not members.truth("alertWhenBreaching", default=True):
        spec.notice("is left out: alertWhenBreaching is false, and resolved alerts are told of anyway")
        return []
    return [pair for item in items if (pair := _condition(item, name, parts)) is not None]


def resolve(given: Value, reference_name: str, kind: str, known: dict[str, Value]) -> tuple[str, Value] | None:
    """The name and spec of an object that is written in place, or referred to by its name."""
    members = given.members()
    reference = members.get(reference_name)
    if reference is not None:
        members.refuse_others((reference_name,))
        found = known.get(reference.text())
        if found is None:
            reference.refuse(f'there is no {kind} "{reference.text():.100}" in this text')
            return None
        given = found
        members = found.members()
    members.refuse_others(("apiVersion", "kind", "metadata", "spec"))
    if (written := members.get("kind")) is not None:
        written.choice((kind,))
    metadata, spec = members.get("metadata"), members.require("spec")
    name = None if metadata is None else metadata.members().get("name")
    return None if spec is None else ("" if name is None else name.text(), spec)


def _condition(given: Value, policy_name: str, parts: Parts) -> BurnRateAlert | None:
    found = resolve(given, "conditionRef", "AlertCondition", parts.conditions)
    if found is None:
        return None
    name, spec = found
    members = spec.members(("description", "severity", "condition"))
    severity, condition = members.require("severity"), members.require("condition")
    response = BurnResponse.TICKET if severity is None else objectives.response(severity)
    if condition is None:
        return None
    fields = condition.members(("kind", "op", "threshold", "lookbackWindow", "alertAfter"))
    if (kind := fields.get("kind")) is not None:
        kind.choice(("burnrate",), any_case=True)
    if (op := fields.require("op")) is not None:
        op.choice(_OPERATORS)
    threshold, lookback = fields.require("threshold"), fields.require("lookbackWindow")
    factor = None if threshold is None else threshold.number()
    if threshold is not None and factor is not None and factor <= 0:
        threshold.refuse("must be above 0: it says how many times too fast the budget burns")
    long = 0 if lookback is None else _seconds(lookback)
    short = _short_window(given, parts, long) or _delay_seconds(fields, long)
    if factor is None or not long:
        return None
    return BurnRateAlert(policy_name or name, response, long, short, objectives.plain(factor))


def _short_window(given: Value, parts: Parts, long: int) -> int:
    members = given.members()
    reference = members.get("conditionRef")
    if reference is not None and reference.text() in parts.conditions:
        members = parts.conditions[reference.text()].members()
    metadata = members.get("metadata")
    written = None if metadata is None else metadata.members().get("annotations")
    short = None if written is None else written.members().get(SHORT_WINDOW)
    if short is None:
        return 0
    seconds = (durations.prometheus_milliseconds(short.text()) or 0) // 1000
    if not 0 < seconds <= long:
        short.refuse("must be a duration that is not longer than lookbackWindow")
    return seconds


def _delay_seconds(fields: Members, long: int) -> int:
    """How long a burn has to last: what `alertAfter` says, none being the long window itself."""
    after = fields.get("alertAfter")
    if after is None or after.text() in ("0m", "0h", "0d"):
        return long
    seconds = _seconds(after)
    if not 0 < seconds <= long:
        after.notice("is left out: an alert begins when its window burns fast enough, and does not wait beyond that")
        return long
    after.notice("is read as the short window: the budget has to burn as fast in it too")
    return seconds


def _look_at_targets(targets: Value | None, parts: Parts) -> None:
    for target in [] if targets is None else targets.items():
        members = target.members()
        reference = members.get("targetRef")
        if reference is not None and reference.text() not in parts.targets:
            reference.refuse(f'there is no AlertNotificationTarget "{reference.text():.100}" in this text')


def read_target(root: Value) -> None:
    """An AlertNotificationTarget: who is told is decided by whoever subscribes to alerts, so it is only named."""
    spec = root.members(("apiVersion", "kind", "metadata", "spec")).require("spec")
    if spec is not None:
        spec.members(("target", "description")).require("target")
        spec.notice("is left out: alerts go to whoever subscribes to them, and to Alertmanager")


def _seconds(value: Value) -> int:
    found = durations.shorthand(value.text())
    if found is None:
        value.refuse('must be a duration like "5m", "6h" or "3d"')
        return 0
    seconds = durations.shorthand_seconds(*found)
    if seconds > LONGEST_SECONDS:
        value.refuse("is longer than ten years")
        return 0
    return seconds


def _with_unique_names(pairs: list[BurnRateAlert]) -> list[BurnRateAlert]:
    named: dict[str, BurnRateAlert] = {}
    for pair in pairs:
        name, count = pair.name or "burn-rate", 1
        while name in named:
            count += 1
            name = f"{pair.name or 'burn-rate'}-{count}"
        named[name] = BurnRateAlert(
            name, pair.response, pair.long_window_seconds, pair.short_window_seconds, pair.factor
        )
    return list(named.values())
