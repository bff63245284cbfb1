"""From what is said at each moment to what fires: OK → PENDING → FIRING → OK, for one rule and one service.

It fires when it was bad for long enough, and is over when it was good for long enough. What is not known changes
nothing for a while: a backend that is away is no all-clear, and neither proof nor disproof of a suspicion.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.alerts import DetectionKind, DetectionStatus
from domain.detection import Rule

LONGEST_GAP: Final = timedelta(minutes=5)
"""For how long nothing need be known without a suspicion having to begin anew."""

MOST_FIRING: Final = timedelta(days=1)
"""After how long what was unusual has become usual."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a rule says of a service now. `baseline` is the centre and deviation to keep while it is bad."""

    is_known: bool
    is_bad: bool = False
    is_good: bool = False
    value: float | None = None
    expected: float | None = None
    baseline: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a rule says of a service. `since` is when the status began, `bad_since` when what made it so did.

    `good_since` is when a firing one was last seen to turn good, `seen_at` when something was last known.
    """

    status: DetectionStatus
    since: datetime
    evaluated_at: datetime
    bad_since: datetime | None = None
    good_since: datetime | None = None
    seen_at: datetime | None = None
    last_value: float | None = None
    baseline: tuple[float, float] | None = None


class Transition(StrEnum):
    """What is told to others."""

    FIRED = "FIRED"
    RECOVERED = "RECOVERED"
    LOST = "LOST"
    """It ended because nothing was known of it any more."""
    GIVEN_UP = "GIVEN_UP"
    """It ended because it has lasted for so long that it is usual."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long is long enough. `gives_up_after`: how long it fires at the most."""

    fires_after: timedelta
    resolves_after: timedelta
    forgets_after: timedelta
    gives_up_after: timedelta | None = None

    @classmethod
    def of(cls, rule: Rule) -> "Timing":
        """As the rule wants it. What is absent for too long was taken down."""
        forgets_after = timedelta(seconds=rule.parameters.forget_seconds)
        gives_up_after = {
            DetectionKind.ABSENCE: forgets_after,
            DetectionKind.SEASONAL: MOST_FIRING,
            DetectionKind.LOG_NOVELTY: MOST_FIRING,
        }
        return cls(
            timedelta(seconds=rule.for_seconds),
            timedelta(seconds=rule.parameters.resolve_seconds),
            forgets_after,
            gives_up_after.get(rule.kind),
        )


def advance(state: State | None, seen: Observation, timing: Timing, at: datetime) -> tuple[State, Transition | None]:
    """The state after an observation, and what there is to tell. A moment that was evaluated already changes nothing.

    The alert of a firing started at the state's `bad_since`, also in the state before its end.
    """
    if state is None:
        state = State(status=DetectionStatus.OK, since=at, evaluated_at=at)
    elif at <= state.evaluated_at:
        return state, None
    if state.status is DetectionStatus.ERROR:
        state = replace(state, status=DetectionStatus.OK, since=at)
    if not seen.is_known:
        return _unseen(state, timing, at)
    after, transition = _seen(state, seen, timing, at)
    value = seen.value if seen.value is not None else after.last_value
    return replace(after, evaluated_at=at, seen_at=at, last_value=value), transition


def failed(state: State, at: datetime) -> State:
    """The state when the rule could not be evaluated: what fires goes on, what was fine is no longer known to be."""
    if state.status is DetectionStatus.OK and at > state.evaluated_at:
        return replace(state, status=DetectionStatus.ERROR, since=at)
    return state


def _seen(state: State, seen: Observation, timing: Timing, at: datetime) -> tuple[State, Transition | None]:
    match state.status:
        case DetectionStatus.FIRING:
            return _seen_firing(state, seen, timing, at)
        case DetectionStatus.PENDING if seen.is_bad:
            began = at if _had_gap(state, at) else state.bad_since or at
            return _suspected(replace(state, bad_since=began), timing, at)
        case _ if seen.is_bad:
            suspected = replace(state, status=DetectionStatus.PENDING, since=at, bad_since=at, baseline=seen.baseline)
            return _suspected(suspected, timing, at)
        case DetectionStatus.PENDING:
            return _calmed(state, at), None
    return state, None


def _seen_firing(state: State, seen: Observation, timing: Timing, at: datetime) -> tuple[State, Transition | None]:
    began = state.bad_since or state.since
    if timing.gives_up_after is not None and at - began >= timing.gives_up_after:
        return _calmed(state, at), Transition.GIVEN_UP
    if not seen.is_good:
        return replace(state, good_since=None), None
    good_since = at if state.good_since is None or _had_gap(state, at) else state.good_since
    if at - good_since >= timing.resolves_after:
        return _calmed(state, at), Transition.RECOVERED
    return replace(state, good_since=good_since), None


def _suspected(state: State, timing: Timing, at: datetime) -> tuple[State, Transition | None]:
    if state.bad_since is not None and at - state.bad_since >= timing.fires_after:
        return replace(state, status=DetectionStatus.FIRING, since=at, good_since=None), Transition.FIRED
    return state, None


def _unseen(state: State, timing: Timing, at: datetime) -> tuple[State, Transition | None]:
    silent = at - (state.seen_at or state.since)
    state = replace(state, evaluated_at=at)
    if state.status is DetectionStatus.PENDING and silent > LONGEST_GAP:
        return _calmed(state, at), None
    if state.status is DetectionStatus.FIRING and silent > timing.forgets_after:
        return _calmed(state, at), Transition.LOST
    return state, None


def _calmed(state: State, at: datetime) -> State:
    return replace(state, status=DetectionStatus.OK, since=at, bad_since=None, good_since=None, baseline=None)


def _had_gap(state: State, at: datetime) -> bool:
    return state.seen_at is not None and at - state.seen_at > LONGEST_GAP
