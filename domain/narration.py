"""What a timeline says of a change: titles that a person wants to read in the middle of an incident."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from domain.changes import Change, as_json
from domain.correlation import CorrelationKind, RootCauseKind
from domain.incidents import STAMPS, ImpactLevel, IncidentStatus, Severity
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus
from domain.objectives import ObjectiveDefinition
from domain.services import DeploymentOutcome
from domain.slos import SLOStatus
from domain.timeline import Entry, TimelineEventType

_WORK_TITLES: Final[Mapping[str, Mapping[Any, str]]] = {
    "Task": {
        TaskStatus.OPEN: "Task opened again",
        TaskStatus.IN_PROGRESS: "Task started",
        TaskStatus.DONE: "Task done",
        TaskStatus.CANCELLED: "Task cancelled",
    },
    "Hypothesis": {
        HypothesisStatus.PROPOSED: "Hypothesis set back to proposed",
        HypothesisStatus.INVESTIGATING: "Hypothesis under investigation",
        HypothesisStatus.CONFIRMED: "Hypothesis confirmed",
        HypothesisStatus.REJECTED: "Hypothesis rejected",
    },
    "Step": {
        StepStatus.PENDING: "Step set back to pending",
        StepStatus.IN_PROGRESS: "Step started",
        StepStatus.COMPLETED: "Step completed",
        StepStatus.SKIPPED: "Step skipped",
    },
}
_DEPLOYMENT_TITLES: Final = {
    DeploymentOutcome.IN_PROGRESS: "is being deployed to",
    DeploymentOutcome.SUCCEEDED: "was deployed to",
    DeploymentOutcome.FAILED: "failed to deploy to",
    DeploymentOutcome.ROLLED_BACK: "was rolled back in",
}
_ANOMALIES: Final[Mapping[CorrelationKind, TimelineEventType]] = {
    CorrelationKind.METRIC: TimelineEventType.METRIC_ANOMALY,
    CorrelationKind.LOG: TimelineEventType.LOG_ANOMALY,
    CorrelationKind.TRACE: TimelineEventType.TRACE_ANOMALY,
}
_SLO_WORDS: Final = {
    SLOStatus.HEALTHY: "healthy again",
    SLOStatus.WARNING: "burning its error budget too fast",
    SLOStatus.CRITICAL: "burning its error budget very fast",
    SLOStatus.EXHAUSTED: "out of error budget",
    SLOStatus.NO_DATA: "without data",
    SLOStatus.ERROR: "not evaluated: its query fails",
}
_ALARMING: Final = {
    SLOStatus.WARNING: Severity.MEDIUM,
    SLOStatus.CRITICAL: Severity.CRITICAL,
    SLOStatus.EXHAUSTED: Severity.HIGH,
}
_PROSE: Final = ("description", "root_cause", "resolution")


def incident_opened(incident: Mapping[str, Any], *, by: str) -> Entry:
    """The first line of every timeline. `incident` comes with the names of its services."""
    services: Sequence[str] = incident["services"]
    affected = f": {', '.join(services)} affected" if services else ""
    return Entry(
        type=TimelineEventType.DETECTED,
        title=f"Opened by {by}{affected}",
        severity=incident["severity"],
        metadata={"severity": incident["severity"], "services": [*services]},
        occurred_at=incident["detected_at"],
    )


def incident_changed(changes: Sequence[Change], *, by: str, note: str = "", names: Mapping[UUID, str]) -> list[Entry]:
    """One line for the new status, with what else belongs to it, and one for each other field. `note` is what the
    person said about the new status; `names` are those of the people that the changes mention.
    """
    by_column = {change.column: change for change in changes}
    status = by_column.pop("status", None)
    entries = []
    if status is not None:
        entries.append(_status_changed(status, by_column, by=by, note=note))
    for column, change in by_column.items():
        if column == "severity":
            entries.append(_severity_changed(change))
        else:
            entries.append(_field_changed(change, names))
    return entries


def _status_changed(status: Change, others: dict[str, Change], *, by: str, note: str) -> Entry:
    """The line of a new status. Takes from `others` what it tells along."""
    metadata = {"from": status.before, "to": status.after}
    stamp = others.pop(STAMPS[status.after], None) if status.after in STAMPS else None
    at = stamp.after if stamp is not None else None
    match status.after:
        case IncidentStatus.RESOLVED:
            causes = [others.pop(column, None) for column in ("root_cause", "resolution")]
            told = "\n\n".join(f"{change.words}: {change.after}" for change in causes if change and change.after)
            return Entry(
                type=TimelineEventType.RESOLUTION,
                title=f"Resolved by {by}",
                description=told,
                metadata=metadata,
                occurred_at=at,
            )
        case IncidentStatus.MITIGATED:
            return Entry(
                type=TimelineEventType.MITIGATION,
                title=f"Mitigated by {by}",
                description=note,
                metadata=metadata,
                occurred_at=at,
            )
        case IncidentStatus.INVESTIGATING if status.before is IncidentStatus.OPEN:
            title = f"Acknowledged by {by}"
        case _:
            title, at = f"Reopened by {by}", None
            for column in STAMPS.values():
                others.pop(column, None)
    return Entry(type=TimelineEventType.STATUS_CHANGE, title=title, description=note, metadata=metadata, occurred_at=at)


def _severity_changed(change: Change) -> Entry:
    order = list(Severity)
    direction = "raised" if order.index(change.after) > order.index(change.before) else "lowered"
    return Entry(
        type=TimelineEventType.SEVERITY_CHANGE,
        title=f"Severity {direction} from {change.before} to {change.after}",
        severity=change.after,
        metadata={"from": change.before, "to": change.after},
    )


def _field_changed(change: Change, names: Mapping[UUID, str]) -> Entry:
    description, metadata = "", {"field": change.field}
    if change.column in _PROSE:
        description = change.after or ""
    else:
        metadata |= {"from": as_json(change.before), "to": as_json(change.after)}
    if not change.after:
        title = f"{change.words} removed"
    elif change.column in (*_PROSE, "labels"):
        title = f"{change.words} changed"
    else:
        title = f"{change.words} set to {_shown(change.after, names)}"
    return Entry(type=TimelineEventType.FIELD_CHANGE, title=title, description=description, metadata=metadata)


def _shown(value: Any, names: Mapping[UUID, str]) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return names.get(value, str(value)) if isinstance(value, UUID) else str(value)


def note(text: str, *, occurred_at: datetime | None) -> Entry:
    """What somebody has to say: its first line as the title, and all of it below."""
    title = " ".join(text.strip().splitlines()[0].split())
    return Entry(type=TimelineEventType.NOTE, title=title, description=text, occurred_at=occurred_at)


def impact_changed(service: str, before: ImpactLevel | None, after: ImpactLevel | None) -> Entry:
    """How a service is hurt now, None meaning not at all."""
    if after is None:
        title = f"{service} is no longer affected"
    elif before is None:
        title = f"{service} is affected: {after}"
    else:
        title = f"{service}: impact changed from {before} to {after}"
    metadata = {"service": service, "from": before, "to": after}
    return Entry(type=TimelineEventType.IMPACT, title=title, metadata=metadata)


def work_added(type: TimelineEventType, noun: str, id: UUID, title: str, description: str = "") -> Entry:
    """A new task, hypothesis or step. `noun` is the word for people: "Task"."""
    return Entry(type=type, title=f"{noun} added: {title}", description=description, metadata={f"{noun.lower()}Id": id})


def work_changed(type: TimelineEventType, noun: str, id: UUID, title: str, changes: Sequence[Change]) -> Entry:
    """A task, hypothesis or step that changed: its new status when it has one, else that it changed."""
    status = next((change.after for change in changes if change.column == "status"), None)
    return Entry(
        type=type,
        title=f"{_WORK_TITLES[noun][status] if status else f'{noun} changed'}: {title}",
        metadata={f"{noun.lower()}Id": id, "fields": [change.field for change in changes]},
    )


def cause_found(
    service: str, kind: RootCauseKind, *, confidence: float, explanation: str, analysis_id: UUID, at: datetime | None
) -> Entry:
    """The most probable cause is another than before."""
    return Entry(
        type=TimelineEventType.CORRELATION,
        title=f"Probable cause: {service}, {kind.value.lower()} ({confidence:.0%} sure)",
        description=explanation,
        metadata={"analysisId": analysis_id, "service": service, "kind": kind, "confidence": confidence},
        occurred_at=at,
    )


def anomaly_found(
    kind: CorrelationKind, summary: str, *, correlation_id: UUID, signature: str, at: datetime | None
) -> Entry:
    """Something moved together with the incident."""
    return Entry(
        type=_ANOMALIES.get(kind, TimelineEventType.CORRELATION),
        title=summary.partition("\n")[0] or kind.value,
        metadata={"correlationId": correlation_id, "signature": signature},
        occurred_at=at,
    )


def deployed(service: str, deployment: Mapping[Any, Any], *, at: datetime | None) -> Entry:
    """A deployment of a service that the incident hurts."""
    version, environment, outcome = (deployment[column] for column in ("version", "environment", "outcome"))
    return Entry(
        type=TimelineEventType.DEPLOYMENT,
        title=f"{service} {version} {_DEPLOYMENT_TITLES[outcome]} {environment}",
        description=deployment["description"],
        metadata={"deploymentId": deployment["id"], "version": version, "environment": environment, "outcome": outcome},
        occurred_at=at,
    )


def slo_changed(definition: ObjectiveDefinition, slo_id: UUID, before: SLOStatus, after: SLOStatus, told: str) -> Entry:
    """The error budget of a service that the incident hurts came to another status. `told` says what is left of it."""
    return Entry(
        type=TimelineEventType.ALERT if after in _ALARMING else TimelineEventType.STATUS_CHANGE,
        title=f"SLO {definition.name} of {definition.service} is {_SLO_WORDS[after]}",
        description=told,
        severity=_ALARMING.get(after),
        metadata={"sloId": slo_id, "from": before, "to": after},
    )


def silence_created(silence_id: UUID, conditions: Sequence[str], *, ends_at: datetime, comment: str) -> Entry:
    """Alerts are silenced. `conditions` are the matchers, as Alertmanager writes them."""
    return Entry(
        type=TimelineEventType.ALERT,
        title=f"Silenced until {ends_at:%Y-%m-%d %H:%M} UTC: {', '.join(conditions)}",
        description=comment,
        metadata={"silenceId": silence_id, "matchers": [*conditions], "endsAt": ends_at},
    )


def silence_expired(silence_id: UUID, conditions: Sequence[str]) -> Entry:
    """A silence was ended before its time."""
    return Entry(
        type=TimelineEventType.ALERT,
        title=f"No longer silenced: {', '.join(conditions)}",
        metadata={"silenceId": silence_id, "matchers": [*conditions]},
    )


def alerts_fired(
    name: str,
    severity: Severity,
    *,
    service: str | None,
    because: str,
    at: datetime,
    alert_ids: Sequence[UUID],
    is_synthesised: bool,
) -> Entry:
    """Alerts of one name that fire, and why they belong here. `alert_ids` has one for each time that they do."""
    return Entry(
        type=TimelineEventType.ALERT,
        title=_alerts(name, service, alert_ids, one="fires", many="fire"),
        description=_found(f"Joined because {because}.", is_synthesised),
        severity=severity,
        metadata=_alerts_metadata(alert_ids, because=because, is_synthesised=is_synthesised),
        occurred_at=at,
    )


def alerts_resolved(
    name: str, *, service: str | None, at: datetime, alert_ids: Sequence[UUID], is_synthesised: bool
) -> Entry:
    """Alerts of one name that fire no more. `alert_ids` has one for each time that they did."""
    return Entry(
        type=TimelineEventType.ALERT,
        title=_alerts(name, service, alert_ids, one="is resolved", many="are resolved"),
        description=_found("", is_synthesised),
        metadata=_alerts_metadata(alert_ids, is_synthesised=is_synthesised),
        occurred_at=at,
    )


def alert_flaps(name: str, firings: int, minutes: int) -> Entry:
    """An alert that comes and goes."""
    return Entry(
        type=TimelineEventType.ALERT,
        title=f"{name} is flapping: it fired {firings} times in {minutes} minutes",
        description=f"The incident stays open until it has been quiet for {minutes} minutes.",
        metadata={"firings": firings, "minutes": minutes},
    )


def siblings_found(name: str, because: str, incident_id: UUID, *, is_merged: bool) -> Entry:
    """Another incident is the same trouble: it was merged, or waits for a person to say so."""
    what = f"{name} was merged into this incident" if is_merged else f"{name} looks like the same trouble"
    advice = (
        "" if is_merged else " People have worked on it, so that it was not merged: move its alerts, or resolve it."
    )
    return Entry(
        type=TimelineEventType.CORRELATION,
        title=what,
        description=f"Because {because}.{advice}",
        metadata={"incidentId": incident_id, "because": because, "merged": is_merged},
    )


def alert_moved(name: str, text: str, alert_id: UUID) -> Entry:
    """An alert that a person put elsewhere."""
    return Entry(type=TimelineEventType.ALERT, title=f"{name} {text}", metadata={"alertIds": [alert_id]})


def _alerts(name: str, service: str | None, alert_ids: Sequence[UUID], *, one: str, many: str) -> str:
    what = f"{name} on {service}" if service else name
    alerts, times = len({*alert_ids}), len(alert_ids)
    if alerts > 1:
        return f"{what} ({alerts} alerts) {many}"
    return f"{what} {one}" if times == 1 else f"{what} {one}, {times} times"


def _found(text: str, is_synthesised: bool) -> str:
    found = "No delivery told of it: it was found by comparing with its source." if is_synthesised else ""
    return " ".join(filter(None, (text, found)))


def _alerts_metadata(alert_ids: Sequence[UUID], *, is_synthesised: bool, because: str | None = None) -> dict[str, Any]:
    known = {"because": because} if because else {}
    distinct = [*dict.fromkeys(alert_ids)]
    told: dict[str, Any] = {"alertIds": distinct[:100], "alerts": len(distinct), **known}
    return {**told, "synthesised": True} if is_synthesised else told
