"""What an incident is and how it may change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from domain.errors import InvalidTransition, ValidationFailed
from domain.moments import past_moment


class Severity(StrEnum):
    """How much it hurts. Declared from least to most severe, which is the order the database sorts by."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class IncidentStatus(StrEnum):
    """Where the work on an incident stands, in the order of its life."""

    OPEN = "OPEN"
    INVESTIGATING = "INVESTIGATING"
    MITIGATED = "MITIGATED"
    RESOLVED = "RESOLVED"


class IncidentSource(StrEnum):
    """Who said that something is wrong."""

    MANUAL = "MANUAL"
    API = "API"
    ALERT = "ALERT"
    DETECTION = "DETECTION"


class ImpactLevel(StrEnum):
    """How an incident hurts a service."""

    PRIMARY = "PRIMARY"
    SECONDARY = "SECONDARY"
    SUSPECTED = "SUSPECTED"


STAMPS: Final = {
    IncidentStatus.INVESTIGATING: "acknowledged_at",
    IncidentStatus.MITIGATED: "mitigated_at",
    IncidentStatus.RESOLVED: "resolved_at",
}
MERGED_INTO: Final = "Merged into"
"""How the resolution of an incident begins that was found to be the trouble of another."""

_ORDER: Final = tuple(IncidentStatus)
_IN_WORDS: Final = {
    IncidentStatus.OPEN: "open",
    IncidentStatus.INVESTIGATING: "acknowledged",
    IncidentStatus.MITIGATED: "mitigated",
    IncidentStatus.RESOLVED: "resolved",
}
_FIELDS: Final = {
    "started_at": "startedAt",
    "detected_at": "detectedAt",
    "acknowledged_at": "acknowledgedAt",
    "mitigated_at": "mitigatedAt",
    "resolved_at": "resolvedAt",
}


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The status and the times of an incident. What always holds of them:

    - every time is at or after `started_at`;
    - RESOLVED has `resolved_at` and nothing else has it;
    - MITIGATED has `mitigated_at`; RESOLVED may have it; OPEN and INVESTIGATING do not;
    - INVESTIGATING has `acknowledged_at`; OPEN does not.

    The functions below lead from one such state to another, or raise.
    """

    status: IncidentStatus
    started_at: datetime
    detected_at: datetime | None = None
    acknowledged_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None


def is_remedy(resolution: str) -> bool:
    """Whether a resolution says what helped, rather than nothing, or which other incident it was."""
    said = resolution.strip()
    return bool(said) and not said.startswith(MERGED_INTO)


def opened(*, started_at: datetime | None, detected_at: datetime | None, now: datetime) -> Lifecycle:
    """A new incident. It was detected now and began then, unless its reporter knows better. Raises ValidationFailed."""
    start = now if detected_at is None else past_moment(detected_at, "Detected at", "detectedAt", now=now)
    if started_at is not None:
        start = past_moment(started_at, "Started at", "startedAt", now=now)
    incident = Lifecycle(IncidentStatus.OPEN, start, detected_at=max(now, start))
    return incident if detected_at is None else correct(incident, {"detected_at": detected_at}, now=now)


def require_transition(
    current: IncidentStatus, to: IncidentStatus, *, version: int | None = None, path: Sequence[str] = ()
) -> None:
    """Raise InvalidTransition unless `to` lies ahead of `current`. Skipping ahead is allowed, going back is not, and
    what has happened already does not happen again.
    """
    if to is current:
        raise InvalidTransition(f"The incident is {_IN_WORDS[current]} already", version, path)
    if _ORDER.index(to) < _ORDER.index(current):
        raise InvalidTransition(
            f"The incident is {_IN_WORDS[current]}: it goes back only by being reopened", version, path
        )


def advance(
    incident: Lifecycle, to: IncidentStatus, *, now: datetime, version: int | None = None, path: Sequence[str] = ()
) -> Lifecycle:
    """Move forward and stamp the time of that. What is skipped keeps no time, because nobody knows it: an incident that
    is resolved without ever having been acknowledged has no time of acknowledgement. Raises InvalidTransition.
    """
    require_transition(incident.status, to, version=version, path=path)
    # The start may have come from a clock that runs ahead of ours.
    return replace(incident, status=to, **{STAMPS[to]: max(now, incident.started_at)})


def reopen(incident: Lifecycle, *, version: int | None = None) -> Lifecycle:
    """Back to work on a mitigated or resolved incident, which then is neither. Raises InvalidTransition."""
    if incident.status not in (IncidentStatus.MITIGATED, IncidentStatus.RESOLVED):
        raise InvalidTransition(
            "The incident is neither mitigated nor resolved, so there is nothing to reopen", version
        )
    status = IncidentStatus.OPEN if incident.acknowledged_at is None else IncidentStatus.INVESTIGATING
    return replace(incident, status=status, mitigated_at=None, resolved_at=None)


def correct(incident: Lifecycle, times: Mapping[str, datetime | None], *, now: datetime) -> Lifecycle:
    """Replace times by what somebody knows better (None takes one away). Raises ValidationFailed for a time in the
    future, before the start, or of something that has not happened in this status.
    """
    given: dict[str, Any] = {column: _corrected(incident.status, column, time, now) for column, time in times.items()}
    corrected = replace(incident, **given)
    for column, field in _FIELDS.items():
        time = getattr(corrected, column)
        if time is not None and time < corrected.started_at:
            if column in given:
                raise ValidationFailed(f"{_in_words(column)} lies before the incident started", (field,))
            happened = column.removesuffix("_at")
            raise ValidationFailed(f"Started at lies after the incident was {happened}", ("startedAt",))
    return corrected


def _corrected(status: IncidentStatus, column: str, time: datetime | None, now: datetime) -> datetime | None:
    words, field = _in_words(column), _FIELDS[column]
    if time is None:
        if column in ("started_at", STAMPS.get(status)):
            raise ValidationFailed(f"{words} is required", (field,))
        return None
    reached = next((reached for reached, stamp in STAMPS.items() if stamp == column), IncidentStatus.OPEN)
    if _ORDER.index(status) < _ORDER.index(reached):
        raise ValidationFailed(f"{words} cannot be given: the incident is not {_IN_WORDS[reached]}", (field,))
    return past_moment(time, words, field, now=now)


def _in_words(column: str) -> str:
    return column.replace("_", " ").capitalize()
