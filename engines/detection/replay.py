"""When a rule would have fired, had it been evaluated at every moment of a past that is known."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isnan

import numpy as np

from domain.alerts import DetectionKind
from domain.detection import Rule
from engines.detection.judging import Frame, Judgement, judge
from engines.detection.lifecycle import Observation, State, Timing, Transition, advance
from engines.detection.statistics import Floats

DAY_SECONDS = 86_400
RECENT_SECONDS = 3_600
EARLIER_MARGIN_SECONDS = 1_800
"""How far around this time of the day earlier days are looked at."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Moments at the same distance: `start` (seconds since 1970), one every `step` seconds."""

    start: float
    step: float
    count: int

    def time(self, index: int) -> datetime:
        """The moment with this index."""
        return datetime.fromtimestamp(self.start + index * self.step, UTC)


@dataclass(frozen=True, slots=True)
class Firing:
    """A firing of the service with this index. `began_at`: bad since; `ended_at` is None for one that goes on."""

    service: int
    began_at: datetime
    fired_at: datetime
    ended_at: datetime | None
    value: float | None
    expected: float | None


def lookback(rule: Rule) -> timedelta:
    """What must be known of the time before the first moment."""
    match rule.kind:
        case DetectionKind.SEASONAL:
            return timedelta(days=rule.parameters.earlier_days, seconds=EARLIER_MARGIN_SECONDS)
        case DetectionKind.RATE_OF_CHANGE:
            return timedelta(seconds=rule.parameters.over_seconds)
        case _:
            return timedelta(0)


def replay(rule: Rule, grid: Grid, values: Floats, requests: Floats | None = None, *, first: int = 0) -> list[Firing]:
    """The firings of all services, from the moment with the index `first` on. Arrays are (services, moments).

    What an absent service was before it was first seen is not known.
    """
    timing = Timing.of(rule)
    services = values.shape[0]
    states: list[State | None] = [None] * services
    kept = np.full((services, 2), np.nan)
    was_seen = ~np.isnan(values[:, : first + 1]).all(axis=1)
    open_firings: dict[int, Firing] = {}
    firings: list[Firing] = []
    for index in range(first, grid.count):
        at = grid.time(index)
        judgement = judge(rule, frame_at(rule, grid, values, requests, index, kept))
        was_seen |= ~np.isnan(values[:, index])
        for service, seen in enumerate(observations(judgement)):
            if rule.kind is DetectionKind.ABSENCE and not was_seen[service]:
                continue
            state, transition = advance(states[service], seen, timing, at)
            if transition is Transition.FIRED:
                open_firings[service] = Firing(service, state.bad_since or at, at, None, seen.value, seen.expected)
            elif transition is not None and (firing := open_firings.pop(service, None)) is not None:
                firings.append(Firing(service, firing.began_at, firing.fired_at, at, firing.value, firing.expected))
            states[service] = state
            kept[service] = state.baseline if state.baseline is not None else np.nan
    firings += open_firings.values()
    return sorted(firings, key=lambda firing: (firing.began_at, firing.service))


def frame_at(
    rule: Rule,
    grid: Grid,
    values: Floats,
    requests: Floats | None,
    index: int,
    kept: Floats | None,
    earlier: Floats | None = None,
) -> Frame:
    """What is known at one moment of a grid that holds what was before; `earlier` days, where it does not."""
    value = values[:, index]
    counts = None if requests is None else requests[:, index]
    match rule.kind:
        case DetectionKind.SEASONAL:
            if earlier is None:
                earlier = _earlier(rule, grid, values, index)
            return Frame(value, counts, _before(grid, values, index, RECENT_SECONDS), earlier, kept)
        case DetectionKind.RATE_OF_CHANGE:
            return Frame(value, counts, _before(grid, values, index, rule.parameters.over_seconds))
        case _:
            return Frame(value, counts)


def observations(judgement: Judgement) -> list[Observation]:
    """What was said of each service, in plain Python."""
    baselines: list[tuple[float, float] | None] = [None] * len(judgement.value)
    if judgement.baseline is not None:
        pairs = judgement.baseline.tolist()
        baselines = [None if isnan(centre) or isnan(deviation) else (centre, deviation) for centre, deviation in pairs]
    columns = zip(
        judgement.known.tolist(),
        judgement.bad.tolist(),
        judgement.good.tolist(),
        _plain(judgement.value),
        _plain(judgement.expected),
        baselines,
        strict=True,
    )
    return [Observation(*column) for column in columns]


def _plain(numbers: Floats) -> list[float | None]:
    return [number if np.isfinite(number) else None for number in numbers.tolist()]


def _before(grid: Grid, values: Floats, index: int, seconds: float) -> Floats:
    """The values before a moment, as far as they are known; NaN where the grid had not begun."""
    points = max(1, round(seconds / grid.step))
    before = values[:, max(0, index - points) : index]
    missing = points - before.shape[1]
    return np.pad(before, ((0, 0), (missing, 0)), constant_values=np.nan) if missing else before


def _earlier(rule: Rule, grid: Grid, values: Floats, index: int) -> Floats:
    """The values around the same time of earlier days: (services, days, points)."""
    margin = round(EARLIER_MARGIN_SECONDS / grid.step)
    around = np.arange(-margin, margin + 1)
    days = np.arange(1, rule.parameters.earlier_days + 1)
    indices = index - np.round(days * DAY_SECONDS / grid.step).astype(int)[:, np.newaxis] + around
    found: Floats = values[:, np.clip(indices, 0, None)]
    return np.where(indices < 0, np.nan, found)
