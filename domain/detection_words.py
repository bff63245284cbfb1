"""What detection says to people."""

from typing import Final

from domain.alerts import Comparison, DetectionKind
from domain.detection import Rule
from domain.telemetry import GoldenSignal

_SIGNALS: Final = {
    GoldenSignal.REQUEST_RATE: "request rate",
    GoldenSignal.ERROR_RATIO: "error ratio",
    GoldenSignal.LATENCY_P50: "median latency",
    GoldenSignal.LATENCY_P95: "95th percentile of the latency",
    GoldenSignal.LATENCY_P99: "99th percentile of the latency",
    GoldenSignal.SATURATION: "saturation",
}
_ENDINGS: Final = {
    "RECOVERED": "is back",
    "LOST": "is no longer known: nothing was measured for too long",
    "GIVEN_UP": "has been like this for so long that it is usual now",
}


def subject(rule: Rule) -> str:
    """What a rule watches."""
    if rule.kind is DetectionKind.SLO_BURN:
        return "burn rate of the error budget"
    if rule.kind is DetectionKind.LOG_NOVELTY:
        return "number of new kinds of log lines"
    return _SIGNALS[rule.signal] if rule.signal is not None else "value of the query"


def summary(rule: Rule, service: str, value: float | None, expected: float | None) -> str:
    """Why a rule fires for a service, in a line."""
    what = f"The {subject(rule)} of {service}"
    lasted = f" for {_duration(rule.for_seconds)}" if rule.for_seconds else ""
    if rule.kind is DetectionKind.ABSENCE:
        return f"{what} is missing{lasted}"
    now = f"{what} is {_amount(rule, value)}"
    usual = "" if expected is None else _amount(rule, expected)
    match rule.kind:
        case DetectionKind.SEASONAL:
            return f"{now}, usually {usual}" if usual else now
        case DetectionKind.RATE_OF_CHANGE:
            change = f"{rule.threshold:+.0%} since {_duration(rule.parameters.over_seconds)} ago"
            return f"{now}, a change by more than {change}"
        case DetectionKind.LOG_NOVELTY:
            return f"{service} logs what it has never logged before"
    side = "above" if rule.comparison is Comparison.ABOVE else "below"
    return f"{now}, {side} {_amount(rule, rule.threshold)}{lasted}"


def ending(rule: Rule, service: str, transition: str, value: float | None) -> str:
    """Why a rule does not fire any more for a service, in a line."""
    what = f"The {subject(rule)} of {service}"
    how = _ENDINGS[transition]
    if transition == "RECOVERED" and value is not None and rule.kind is not DetectionKind.ABSENCE:
        how = f"is back at {_amount(rule, value)}"
    return f"{what} {how}"


def _amount(rule: Rule, value: float | None) -> str:
    if value is None:
        return "unknown"
    if rule.kind is DetectionKind.SLO_BURN or rule.query is not None or rule.signal is None:
        return f"{value:.4g}"
    match rule.signal:
        case GoldenSignal.ERROR_RATIO | GoldenSignal.SATURATION:
            return f"{100 * value:.3g} %"
        case GoldenSignal.REQUEST_RATE:
            return f"{value:.3g}/s"
        case _:
            return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
