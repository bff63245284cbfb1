"""The life of one alert, folded from what is told about it, in whatever order and however often it arrives.

An occurrence begins at its start, which tells it from others, and ends when an end was told. What arrives late or twice
changes nothing twice: of two ends the later one counts, and an end counts more than a firing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.alerts import AlertDisposition, AlertStatus
from domain.incidents import Severity
from domain.webhooks.incoming import IncomingAlert


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One firing. `has_fired` is False where only its end was told; `ends_at` may lie ahead."""

    starts_at: datetime
    ends_at: datetime | None
    is_over: bool
    has_fired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """What is known of an alert: its newest occurrence, how many there were, and what it said last."""

    newest: Occurrence
    occurrences: int
    name: str
    severity: Severity
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    generator_url: str | None
    group_key: str | None

    @property
    def status(self) -> AlertStatus:
        """Whether it fires."""
        return AlertStatus.RESOLVED if self.newest.is_over else AlertStatus.FIRING


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one alert of a delivery.

    `state` is what is known now, `occurrence` the one that it was about; both None where nothing was changed.
    """

    disposition: AlertDisposition
    reason: str = ""
    state: AlertState | None = None
    occurrence: Occurrence | None = None


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What a delivery changed about an alert. `has_fired`: a firing was told that was not known; `is_over`: its end.

    `told_at` says where: the delivery, and the position in it. `is_synthesised` means that we found out by ourselves.
    """

    alert_id: UUID
    source: str
    alert: IncomingAlert
    state: AlertState
    occurrence: Occurrence
    is_new: bool
    has_fired: bool
    is_over: bool
    told_at: tuple[UUID, int]
    is_synthesised: bool = False


def start_of(alert: IncomingAlert, state: AlertState | None, received_at: datetime) -> datetime:
    """The start of the occurrence that an alert is about. Sources that tell none mean the one that goes on."""
    if alert.starts_at is not None:
        return alert.starts_at
    is_known = state is not None and (not state.newest.is_over or alert.status is AlertStatus.RESOLVED)
    return state.newest.starts_at if state is not None and is_known else received_at


def tell(state: AlertState | None, known: Occurrence | None, alert: IncomingAlert, *, received_at: datetime) -> Outcome:
    """What an alert changes. `known` is the occurrence that begins at `start_of` it, where there is one already."""
    start = start_of(alert, state, received_at)
    if alert.starts_at is None and alert.status is AlertStatus.RESOLVED and known is None:
        return Outcome(AlertDisposition.STALE, "It ended, and nothing is known of its beginning")
    told = _told(alert, start, received_at, known)
    merged = told if known is None else _merged(known, told)
    if state is None:
        return Outcome(AlertDisposition.CREATED, "", _described(alert, merged, 1), merged)
    is_newest = start >= state.newest.starts_at
    occurrences = state.occurrences + (known is None)
    after = replace(state, newest=merged if is_newest else state.newest, occurrences=occurrences)
    if is_newest and _says_more(known, told):
        after = _described(alert, merged, occurrences, state)
    if merged == known and after == state:
        return Outcome(AlertDisposition.DUPLICATE, "It says nothing new")
    if not is_newest:
        reason = "It is about an earlier time than what is known, and was added to the history"
        return Outcome(AlertDisposition.STALE, reason, after, merged)
    if known is not None and known.is_over and alert.status is AlertStatus.FIRING:
        return Outcome(AlertDisposition.STALE, "It has ended already", after, merged)
    return Outcome(AlertDisposition.UPDATED, _what_is_new(known, merged), after, merged)


def _told(alert: IncomingAlert, start: datetime, received_at: datetime, known: Occurrence | None) -> Occurrence:
    is_over = alert.status is AlertStatus.RESOLVED
    end = alert.ends_at
    if is_over and end is None:
        # Told again without a time, it ended when it was first told.
        end = known.ends_at if known is not None and known.is_over else received_at
    return Occurrence(start, None if end is None else max(end, start), is_over, not is_over)


def _merged(known: Occurrence, told: Occurrence) -> Occurrence:
    if known.is_over is not told.is_over:
        over = known if known.is_over else told
        return replace(over, has_fired=True)
    ends = [end for end in (known.ends_at, told.ends_at) if end is not None]
    return replace(known, ends_at=max(ends, default=None), has_fired=known.has_fired or told.has_fired)


def _says_more(known: Occurrence | None, told: Occurrence) -> bool:
    """Whether what an alert says of itself counts: of the same occurrence, the end was said later than the firing."""
    return known is None or told.is_over or not known.is_over


def _described(
    alert: IncomingAlert, newest: Occurrence, occurrences: int, before: AlertState | None = None
) -> AlertState:
    told = AlertState(
        newest=newest,
        occurrences=occurrences,
        name=alert.name,
        severity=alert.severity,
        labels=alert.labels,
        annotations=alert.annotations,
        generator_url=alert.generator_url,
        group_key=alert.group_key,
    )
    if before is None or (alert.status is AlertStatus.FIRING and not alert.is_acknowledged):
        return told
    kept: dict[str, Any] = {name: getattr(before, name) for name in alert.unsaid}
    return replace(told, **kept)


def _what_is_new(known: Occurrence | None, merged: Occurrence) -> str:
    if known is None:
        return "It ended before its firing was told" if merged.is_over else "It fires again"
    if merged.is_over and not known.is_over:
        return "It is over"
    return "It says something else" if merged.ends_at == known.ends_at else "It ends at another time"
