"""Rules of the built-in detection: what each kind wants to know, and what is refused.

`docs/detection.md` says what the parameters mean.

A query may use `$window` and `$services`, a regular expression (RE2) of the names of the services that are watched, as
in `sum by (service) (rate(jobs_failed_total{service=~"$services"}[$window]))`; it writes `$$` for a dollar sign. Its
series are told apart by their label `service`, `service_name`, `job` or `app`; of several of one service the worst
counts. A rule that watches one service may leave the label out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from string import Template
from typing import Any, Final

import promql_parser

from domain.alerts import Comparison, DetectionKind
from domain.errors import ValidationFailed
from domain.json_values import JSON, json_object
from domain.limits import QUERY_CHARACTERS
from domain.telemetry import GoldenSignal
from domain.text import storable

MOST_FOR_SECONDS: Final = 86_400
PLACEHOLDERS: Final = ("window", "services")

_DAY_SECONDS: Final = 86_400.0
_MOST_WINDOW_SECONDS: Final = 7 * _DAY_SECONDS
_BURNING: Final = 14.4  # 2 % of a 30-day budget in an hour (Google SRE workbook, "Alerting on SLOs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the kinds want to know beside threshold and duration, see above. Durations are in seconds, ratios 0..1."""

    window_seconds: float = 300.0
    resolve_seconds: float = 300.0
    forget_seconds: float = 3600.0
    recovery_threshold: float | None = None
    minimum_requests: float = 0.0
    confidence: float = 0.0
    minimum_value: float = 0.0
    over_seconds: float = 3600.0
    minimum_change: float = 0.5
    earlier_days: int = 7
    objective: float = 0.999
    long_window_seconds: float = 3600.0
    short_window_seconds: float = 300.0
    levels: tuple[str, ...] = ("ERROR", "FATAL")
    minimum_lines: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How something is watched. `threshold` is in the unit of the signal, or what its kind makes of it."""

    kind: DetectionKind
    signal: GoldenSignal | None = None
    query: str | None = None
    comparison: Comparison = Comparison.ABOVE
    threshold: float = 0.0
    for_seconds: float = 0.0
    parameters: Parameters = field(default_factory=Parameters)

    @property
    def direction(self) -> float:
        """1 where what is higher is worse, -1 where what is lower is."""
        return 1.0 if self.comparison is Comparison.ABOVE else -1.0


@dataclass(frozen=True, slots=True)
class _Number:
    """What a parameter may be, and of which kinds it is."""

    kinds: frozenset[DetectionKind]
    least: float
    most: float
    is_whole: bool = False


_ALL: Final = frozenset(DetectionKind)
_MEASURED: Final = _ALL - {DetectionKind.LOG_NOVELTY}
_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "UNKNOWN")
_NUMBERS: Final[Mapping[str, _Number]] = {
    "window_seconds": _Number(_MEASURED, 1, _MOST_WINDOW_SECONDS),
    "resolve_seconds": _Number(_ALL, 0, _DAY_SECONDS),
    "forget_seconds": _Number(_ALL, 60, 30 * _DAY_SECONDS),
    "recovery_threshold": _Number(frozenset({DetectionKind.THRESHOLD, DetectionKind.SLO_BURN}), -1e300, 1e300),
    "minimum_requests": _Number(_MEASURED - {DetectionKind.ABSENCE}, 0, 1e12),
    "confidence": _Number(frozenset({DetectionKind.THRESHOLD}), 0, 0.9999),
    "minimum_value": _Number(frozenset({DetectionKind.RATE_OF_CHANGE, DetectionKind.SEASONAL}), 0, 1e300),
    "over_seconds": _Number(frozenset({DetectionKind.RATE_OF_CHANGE}), 60, _MOST_WINDOW_SECONDS),
    "minimum_change": _Number(frozenset({DetectionKind.SEASONAL}), 0, 1e6),
    "earlier_days": _Number(frozenset({DetectionKind.SEASONAL}), 3, 28, is_whole=True),
    "objective": _Number(frozenset({DetectionKind.SLO_BURN}), 0.5, 0.999999),
    "long_window_seconds": _Number(frozenset({DetectionKind.SLO_BURN}), 60, 30 * _DAY_SECONDS),
    "short_window_seconds": _Number(frozenset({DetectionKind.SLO_BURN}), 30, 30 * _DAY_SECONDS),
    "minimum_lines": _Number(frozenset({DetectionKind.LOG_NOVELTY}), 1, 1e6, is_whole=True),
}
_THRESHOLDS: Final[Mapping[DetectionKind, float]] = {
    DetectionKind.RATE_OF_CHANGE: 0.5,
    DetectionKind.SEASONAL: 4.0,
    DetectionKind.SLO_BURN: _BURNING,
}
_FORGET_ABSENCE_SECONDS: Final = _DAY_SECONDS


def rule_of(row: Mapping[str, Any]) -> Rule:
    """The rule that a row of `detection_rules`, or columns as they will be stored, describes.

    Raises ValidationFailed for one that makes no sense as a whole, with the path of what is wrong with it.
    """
    kind: DetectionKind = row["kind"]
    signal: GoldenSignal | None = row.get("signal")
    query: str | None = row.get("query")
    _require_something_to_watch(kind, signal, query)
    threshold: float | None = row.get("threshold")
    if threshold is None:
        threshold = _THRESHOLDS.get(kind)
    if threshold is None and kind is DetectionKind.THRESHOLD:
        raise ValidationFailed("Threshold is required: where does bad begin?", ("threshold",))
    comparison: Comparison = row.get("comparison") or Comparison.ABOVE
    if kind is DetectionKind.SLO_BURN and comparison is Comparison.BELOW:
        raise ValidationFailed("A budget burns ABOVE a rate", ("comparison",))
    if kind is DetectionKind.SEASONAL and threshold is not None and threshold <= 0:
        raise ValidationFailed(
            "The threshold of a SEASONAL rule counts deviations from what is usual: more than 0", ("threshold",)
        )
    rule = Rule(
        kind=kind,
        signal=signal,
        query=query,
        comparison=comparison,
        threshold=threshold or 0.0,
        for_seconds=row.get("for_seconds") or 0,
        parameters=parameters_of(kind, row.get("parameters") or {}),
    )
    _require_agreement(rule)
    return rule


def parameters_of(kind: DetectionKind, given: Mapping[str, Any]) -> Parameters:
    """The parameters of a rule, by their names in JSON, with defaults. Raises ValidationFailed."""
    known = {_camel(item.name): item.name for item in fields(Parameters)}
    values: dict[str, Any] = {}
    if kind is DetectionKind.ABSENCE:
        values["forget_seconds"] = _FORGET_ABSENCE_SECONDS
    for name, value in given.items():
        path = ("parameters", name)
        if name not in known:
            raise ValidationFailed(f"{name!r:.100} is none of the parameters {', '.join(known)}", path)
        if value is None:
            continue
        if name == "levels":
            values["levels"] = _levels(kind, value, path)
        else:
            values[known[name]] = _number(kind, _NUMBERS[known[name]], value, path)
    return Parameters(**values)


def given_parameters(value: object) -> dict[str, JSON]:
    """Parameters as they are stored: an object, without what is null. Raises ValidationFailed."""
    kept = json_object(value, "Parameters", "parameters")
    return {name: held for name, held in kept.items() if held is not None}


def threshold(value: object) -> float | None:
    """A number, or nothing. Raises ValidationFailed."""
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not -1e300 < value < 1e300:
        raise ValidationFailed("Threshold must be a finite number", ("threshold",))
    return float(value)


def for_seconds(value: object) -> int:
    """How long it must be bad, nothing being at once. Raises ValidationFailed."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_FOR_SECONDS:
        raise ValidationFailed(f"It must be bad for 0 to {MOST_FOR_SECONDS} seconds", ("forSeconds",))
    return value


def query(value: object) -> str | None:
    """The query of a rule, with its placeholders, or nothing. What it says is looked at with its kind."""
    if value is None:
        return None
    text = storable(value, "Query", "query", limit=QUERY_CHARACTERS).strip()
    if not text:
        raise ValidationFailed("Query is empty. Leave it out to watch a signal", ("query",))
    return text


def require_promql(text: str) -> None:
    """Raises ValidationFailed for what is no PromQL, saying where."""
    template = Template(text)
    if not template.is_valid() or not {*template.get_identifiers()} <= {*PLACEHOLDERS}:
        raise ValidationFailed("The query may hold $window and $services, and writes $$ for a dollar sign", ("query",))
    try:
        promql_parser.parse(filled(text, window="5m", services="a|b"))
    except ValueError as error:
        raise ValidationFailed(f"The query is no PromQL: {error}", ("query",)) from error


def filled(text: str, *, window: str, services: str) -> str:
    """A query with its placeholders filled in."""
    return Template(text).substitute(window=window, services=services)


def _require_something_to_watch(kind: DetectionKind, signal: GoldenSignal | None, query: str | None) -> None:
    if kind is DetectionKind.LOG_NOVELTY:
        if signal is not None:
            raise ValidationFailed("New kinds of log lines are no signal. Leave the signal out", ("signal",))
        if query is not None:
            raise ValidationFailed("New kinds of log lines are found in all logs. Leave the query out", ("query",))
        return
    if kind is DetectionKind.SLO_BURN:
        if signal not in (None, GoldenSignal.ERROR_RATIO):
            raise ValidationFailed("A budget is burnt by errors: the signal is ERROR_RATIO", ("signal",))
        if query is not None:
            raise ValidationFailed("A budget is burnt by errors. Leave the query out", ("query",))
        return
    if signal is None and query is None:
        raise ValidationFailed("Say what is watched: a signal, or a query", ("signal",))
    if signal is not None and query is not None:
        raise ValidationFailed("A rule watches a signal or a query, not both", ("query",))
    if query is not None:
        require_promql(query)


def _require_agreement(rule: Rule) -> None:
    parameters = rule.parameters
    if parameters.confidence and rule.signal is not GoldenSignal.ERROR_RATIO:
        raise ValidationFailed("Only of an ERROR_RATIO it is known how sure it is", ("parameters", "confidence"))
    if parameters.minimum_requests and rule.query is not None:
        raise ValidationFailed(
            "How many requests a query is about is not known. Let the query leave out what rests on too few",
            ("parameters", "minimumRequests"),
        )
    if rule.kind is DetectionKind.SLO_BURN and parameters.short_window_seconds >= parameters.long_window_seconds:
        raise ValidationFailed("The short window must be the shorter one", ("parameters", "shortWindowSeconds"))
    recovery = parameters.recovery_threshold
    if recovery is not None and rule.direction * (recovery - rule.threshold) > 0:
        raise ValidationFailed(
            f"What is {rule.comparison} the threshold has not recovered: choose the good side of {rule.threshold:g}",
            ("parameters", "recoveryThreshold"),
        )


def _number(kind: DetectionKind, allowed: _Number, value: Any, path: tuple[str, str]) -> float | int:
    if kind not in allowed.kinds:
        raise ValidationFailed(f"{path[1]} means nothing to a rule of kind {kind}", path)
    if not isinstance(value, int | float) or isinstance(value, bool) or not allowed.least <= value <= allowed.most:
        raise ValidationFailed(f"{path[1]} must be a number from {allowed.least:g} to {allowed.most:g}", path)
    if allowed.is_whole:
        if value != int(value):
            raise ValidationFailed(f"{path[1]} must be a whole number", path)
        return int(value)
    return float(value)


def _levels(kind: DetectionKind, value: Any, path: tuple[str, str]) -> tuple[str, ...]:
    if kind is not DetectionKind.LOG_NOVELTY:
        raise ValidationFailed(f"levels mean nothing to a rule of kind {kind}", path)
    if not isinstance(value, list) or not value or not all(level in _LEVELS for level in value):
        raise ValidationFailed(f"levels must be a list of some of {', '.join(_LEVELS)}", path)
    return tuple(value)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
