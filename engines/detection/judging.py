"""What a rule says of services at one moment: bad, good, neither, or nothing because not enough is known.

All arrays have one row a service. What is missing is NaN. `bad` and `good` leave a gap between them (hysteresis): a
value in it neither starts an alert nor ends one.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from domain.alerts import DetectionKind
from domain.detection import Rule
from domain.telemetry import GoldenSignal
from engines.detection import seasonal
from engines.detection.statistics import Flags, Floats, medians, wilson_bounds

POINTS_BEFORE = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known at a moment. `value` and `requests` (in the window) have a number a service.

    `recent` holds the values before, oldest first: over the last hour for SEASONAL, since `over_seconds` ago for
    RATE_OF_CHANGE. `earlier` holds those of the same hour of earlier days, (services, days, points). `kept` holds the
    centre and deviation that were usual when a service began to be bad, (services, 2).
    """

    value: Floats
    requests: Floats | None = None
    recent: Floats | None = None
    earlier: Floats | None = None
    kept: Floats | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was said. `expected` is what a good value would be; `baseline` is what to keep while it is bad."""

    value: Floats
    known: Flags
    bad: Flags
    good: Flags
    expected: Floats
    baseline: Floats | None = None


def judge(rule: Rule, frame: Frame) -> Judgement:
    """What the rule says of each service."""
    match rule.kind:
        case DetectionKind.SEASONAL:
            return _judge_seasonal(rule, frame)
        case DetectionKind.RATE_OF_CHANGE:
            return _judge_change(rule, frame)
        case DetectionKind.ABSENCE:
            missing = np.isnan(frame.value)
            return Judgement(frame.value, np.full(missing.shape, True), missing, ~missing, frame.value)
        case _:
            return _judge_level(rule, frame)


def _judge_level(rule: Rule, frame: Frame) -> Judgement:
    """Against a threshold. An error ratio is bad only as far as chance can be ruled out: one failure of two requests
    is no 50 %.
    """
    value, sign = frame.value, rule.direction
    known = ~np.isnan(value) & _supported(rule, frame)
    surest = value
    if rule.parameters.confidence and rule.signal is GoldenSignal.ERROR_RATIO and frame.requests is not None:
        z = NormalDist().inv_cdf(rule.parameters.confidence)
        lower, upper = wilson_bounds(value, frame.requests, max(z, 0.0))
        surest = lower if sign > 0 else upper
        known &= ~np.isnan(surest)
    recovery = rule.parameters.recovery_threshold
    limit = rule.threshold if recovery is None else recovery
    bad = known & (sign * surest > sign * rule.threshold)
    good = known & ~bad & (sign * value <= sign * limit)
    return Judgement(value, known, bad, good, np.full(value.shape, rule.threshold))


def _judge_change(rule: Rule, frame: Frame) -> Judgement:
    """How much it has changed, as a ratio of what it was: 0.5 is half as much again, -0.5 half as much."""
    if frame.recent is None:
        raise ValueError("a change needs what was before")
    before = medians(frame.recent[:, :POINTS_BEFORE])
    with np.errstate(divide="ignore", invalid="ignore"):
        change = (frame.value - before) / np.abs(before)
    change = np.where((before == 0) & (frame.value == 0), 0.0, change)
    known = ~np.isnan(change) & _supported(rule, frame)
    large = np.maximum(np.abs(frame.value), np.abs(before)) >= rule.parameters.minimum_value
    sign = rule.direction
    bad = known & large & (sign * change > sign * rule.threshold)
    return Judgement(frame.value, known, bad, known & ~bad, before * (1 + rule.threshold))


def _judge_seasonal(rule: Rule, frame: Frame) -> Judgement:
    if frame.recent is None or frame.earlier is None:
        raise ValueError("what is usual needs the last hour and earlier days")
    usual = seasonal.Usual.of(frame.recent, frame.earlier, frame.kept)
    parameters = rule.parameters
    noise = np.zeros(frame.value.shape)
    if rule.signal is GoldenSignal.REQUEST_RATE:
        noise = _counting_noise(usual, parameters.window_seconds)
    limits = seasonal.Limits(rule.direction, rule.threshold, parameters.minimum_change, noise)
    bad, good, expected = seasonal.compare(frame.value, usual, limits)
    known = ~np.isnan(frame.value) & usual.known & _supported(rule, frame, expected)
    # What was always little cannot drop.
    small = (frame.value if rule.direction > 0 else expected) < parameters.minimum_value
    return Judgement(frame.value, known, known & bad & ~small, known & (good | small), expected, usual.recent_baseline)


def _supported(rule: Rule, frame: Frame, expected: Floats | None = None) -> Flags:
    """Where the window holds enough requests; of a rate that can drop, where it usually does."""
    least = rule.parameters.minimum_requests
    if not least:
        return np.full(frame.value.shape, True)
    if rule.signal is GoldenSignal.REQUEST_RATE:
        usual = frame.value if expected is None or rule.direction > 0 else expected
        requests = usual * rule.parameters.window_seconds
    elif frame.requests is None:
        return np.full(frame.value.shape, True)
    else:
        requests = frame.requests
    enough: Flags = requests >= least
    return enough


def _counting_noise(usual: "seasonal.Usual", window_seconds: float) -> Floats:
    """The deviation of a rate that counts independent requests (Poisson)."""
    rate = np.nan_to_num(np.fmax(usual.earlier_centre, usual.recent_centre))
    noise: Floats = np.sqrt(np.maximum(rate, 0.0) / window_seconds)
    return noise
