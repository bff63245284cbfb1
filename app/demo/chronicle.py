"""Past incidents as the tables have them, told in the words that the program itself uses."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table

from app.demo.history import PastIncident
from app.demo.identity import fingerprint, stable_id
from app.demo.shop import Person
from db.alerts import alert_occurrences, alerts
from db.incidents import incidents, incidents_services
from db.investigation import incident_tasks, investigation_hypotheses, investigation_steps
from db.timeline import timeline_events
from domain import narration
from domain.alerts import AlertStatus
from domain.changes import Change, as_json
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus
from domain.timeline import Entry, TimelineEventType

Rows = dict[Table, list[dict[str, Any]]]

_REPORTERS: Final = {IncidentSource.ALERT: "Alertmanager", IncidentSource.DETECTION: "Detection"}
_FOLLOW_UP: Final = timedelta(days=21)


class Chronicle:
    """What is written about one past incident."""

    def __init__(
        self,
        incident: PastIncident,
        *,
        number: int,
        place: int,
        version: str,
        service_ids: Mapping[str, UUID],
        now: datetime,
        random: Random,
    ) -> None:
        """`place` among the incidents of the demo, from which ids are made; `version` of the deployment to blame."""
        self.id = stable_id("incident", place)
        self.rows: Rows = defaultdict(list)
        self._incident = incident
        self._number = number
        self._place = place
        self._version = version
        self._service_ids = service_ids
        self._now = now
        self._random = random
        self._changes = 0
        self._last_change = incident.detected_at
        self._tell()

    @property
    def row(self) -> dict[str, Any]:
        """The incident itself."""
        (row,) = self.rows[incidents]
        return row

    def _tell(self) -> None:
        self._opened()
        self._worked()
        self._investigated()
        self._over()
        self._followed_up()
        self.rows[incidents].append(self._incident_row())
        self.rows[incidents_services] += self._impact_rows()

    def _opened(self) -> None:
        incident = self._incident
        reporter: Person | str = _REPORTERS.get(incident.source) or self._anybody()
        if incident.scenario.alert is not None:
            self._alert(incident.scenario.alert)
        name = reporter if isinstance(reporter, str) else reporter.name
        services = [service for service, _ in self._impacts()]
        known = {
            "severity": incident.severity_at_first,
            "detected_at": incident.detected_at,
            "services": services,
        }
        self._add(incident.detected_at, narration.incident_opened(known, by=name), reporter)
        for at, (kind, text) in self._spread(
            incident.scenario.observed, incident.detected_at, self._between(0.3), after=20
        ):
            self._add(at, Entry(type=kind, title=self._fill(text)), "Detection")

    def _worked(self) -> None:
        incident = self._incident
        lead = incident.commander
        self._changed(
            incident.acknowledged_at,
            lead,
            Change("status", IncidentStatus.OPEN, IncidentStatus.INVESTIGATING),
            Change("acknowledged_at", None, incident.acknowledged_at),
        )
        self._changed(self._between(0.02), lead, Change("commander_id", None, lead.id))
        if incident.severity is not incident.severity_at_first:
            self._changed(self._between(0.2), lead, Change("severity", incident.severity_at_first, incident.severity))
        for at, text in self._spread(incident.scenario.notes, self._between(0.1), self._between(0.9)):
            self._add(at, narration.note(self._fill(text), occurred_at=at), self._anybody())

    def _investigated(self) -> None:
        scenario = self._incident.scenario
        steps = [*scenario.steps]
        if scenario.suspicion is not None:
            doubts = [steps.pop(0)] if len(steps) > 1 else []
            self._hypothesis(scenario.suspicion, HypothesisStatus.REJECTED, 0.1, (0.15, 0.4), doubts)
        if scenario.hypothesis is not None:
            self._hypothesis(scenario.hypothesis, HypothesisStatus.CONFIRMED, 0.95, (0.45, 0.8), steps)

    def _over(self) -> None:
        incident, scenario = self._incident, self._incident.scenario
        lead = incident.commander
        if incident.deployment is not None:
            deployment = {
                "id": stable_id("deployment", scenario.service, self._version),
                "version": self._version,
                "environment": "production",
                "outcome": incident.deployment.outcome,
                "description": "",
            }
            at = incident.deployment.finished_at
            self._add(at, narration.deployed(scenario.service, deployment, at=at), "deploy")
        mitigation = self._fill(scenario.mitigation)
        status = IncidentStatus.INVESTIGATING
        if incident.mitigated_at is None:
            self._add(self._between(0.95), narration.note(mitigation, occurred_at=None), lead)
        else:
            self._changed(
                incident.mitigated_at,
                lead,
                Change("status", status, IncidentStatus.MITIGATED),
                Change("mitigated_at", None, incident.mitigated_at),
                note=mitigation,
            )
            status = IncidentStatus.MITIGATED
        self._changed(
            incident.resolved_at,
            lead,
            Change("status", status, IncidentStatus.RESOLVED),
            Change("resolved_at", None, incident.resolved_at),
            Change("root_cause", None, self._fill(scenario.cause)),
            Change("resolution", None, self._fill(scenario.resolution)),
        )

    def _followed_up(self) -> None:
        incident = self._incident
        for position, title in enumerate(incident.scenario.tasks):
            added_at = incident.resolved_at - timedelta(minutes=5 - position)
            done_at = added_at + _FOLLOW_UP * self._random.random()
            self._task(position, self._fill(title), max(added_at, incident.started_at), done_at)
        written_at = incident.resolved_at + timedelta(days=1, hours=self._random.randint(1, 50))
        if self._postmortem and written_at < self._now:
            self._changed(written_at, incident.commander, Change("postmortem_url", None, self._postmortem))

    @property
    def _postmortem(self) -> str | None:
        if self._incident.severity not in (Severity.HIGH, Severity.CRITICAL):
            return None
        return f"https://wiki.larkspur.example/postmortems/INC-{self._number}"

    def _alert(self, name: str) -> None:
        incident, scenario = self._incident, self._incident.scenario
        fires_at = incident.detected_at - timedelta(seconds=10)
        fires_at = max(fires_at, incident.started_at)
        source = _REPORTERS[incident.source]
        id = stable_id("alert", self._place)
        self.rows[alerts].append(
            {
                "id": id,
                "name": name,
                "fingerprint": fingerprint(name, scenario.service, incident.blanks["region"], self._place),
                "status": AlertStatus.RESOLVED,
                "severity": incident.severity_at_first,
                "labels": {"alertname": name, "service": scenario.service, "region": incident.blanks["region"]},
                "annotations": {
                    "summary": self._fill(incident.title),
                    "runbook_url": f"https://wiki.larkspur.example/runbooks/{scenario.service}",
                },
                "starts_at": fires_at,
                "ends_at": incident.better_at,
                "source": source.lower(),
                "service_id": self._service_ids[scenario.service],
                "incident_id": self.id,
                "created_at": fires_at,
                "updated_at": incident.better_at,
            }
        )
        times = {"starts_at": fires_at, "ends_at": incident.better_at, "is_over": True}
        occurrence = {"id": stable_id("occurrence", self._place), "alert_id": id, "incident_id": self.id}
        self.rows[alert_occurrences].append({**occurrence, **times})
        title = f"{name} fires for {scenario.service}"
        severity = incident.severity_at_first
        self._add(fires_at, Entry(type=TimelineEventType.ALERT, title=title, severity=severity), source)
        title = f"{name} no longer fires for {scenario.service}"
        self._add(incident.better_at, Entry(type=TimelineEventType.ALERT, title=title), source)

    def _hypothesis(
        self,
        title: str,
        outcome: HypothesisStatus,
        confidence: float,
        during: tuple[float, float],
        steps: list[tuple[str, str]],
    ) -> None:
        proposed_at, decided_at = (self._between(share) for share in during)
        title, somebody = self._fill(title), self._anybody()
        id = stable_id("hypothesis", self._place, outcome)
        self.rows[investigation_hypotheses].append(
            {
                "id": id,
                "incident_id": self.id,
                "title": title,
                "status": outcome,
                "confidence": confidence,
                "service_id": self._service_ids[self._incident.scenario.service],
                "created_at": proposed_at,
                "updated_at": decided_at,
            }
        )
        kind, noun = TimelineEventType.HYPOTHESIS, "Hypothesis"
        self._add(proposed_at, narration.work_added(kind, noun, id, title), somebody)
        for position, (at, (look, finding)) in enumerate(self._spread(steps, proposed_at, decided_at)):
            self._step(stable_id("step", self._place, outcome, position), id, look, finding, at)
        decided = Change("status", HypothesisStatus.PROPOSED, outcome)
        self._add(decided_at, narration.work_changed(kind, noun, id, title, [decided]), somebody)

    def _step(self, id: UUID, hypothesis_id: UUID, title: str, finding: str, at: datetime) -> None:
        somebody = self._anybody()
        title = self._fill(title)
        self.rows[investigation_steps].append(
            {
                "id": id,
                "incident_id": self.id,
                "hypothesis_id": hypothesis_id,
                "title": title,
                "status": StepStatus.COMPLETED,
                "findings": {"summary": self._fill(finding)},
                "assignee_id": somebody.id,
                "completed_at": at,
                "created_at": at,
                "updated_at": at,
            }
        )
        done = Change("status", StepStatus.IN_PROGRESS, StepStatus.COMPLETED)
        entry = narration.work_changed(TimelineEventType.HYPOTHESIS, "Step", id, title, [done])
        self._add(at, entry, somebody)

    def _task(self, position: int, title: str, added_at: datetime, done_at: datetime) -> None:
        somebody = self._anybody()
        id = stable_id("task", self._place, position)
        is_done = done_at < self._now
        is_dropped = is_done and self._random.random() < 0.1
        status = TaskStatus.OPEN
        if is_done:
            status = TaskStatus.CANCELLED if is_dropped else TaskStatus.DONE
        self.rows[incident_tasks].append(
            {
                "id": id,
                "incident_id": self.id,
                "title": title,
                "status": status,
                "assignee_id": somebody.id,
                "due_at": added_at + _FOLLOW_UP,
                "completed_at": done_at if is_done else None,
                "created_at": added_at,
                "updated_at": done_at if is_done else added_at,
            }
        )
        self._add(added_at, narration.work_added(TimelineEventType.TASK, "Task", id, title), self._incident.commander)

    def _changed(self, at: datetime, by: Person, *changes: Change, note: str = "") -> None:
        """A change of the incident's own row, with its version and its entries."""
        self._changes += 1
        self._last_change = max(self._last_change, at)
        names = {by.id: by.name}
        for entry in narration.incident_changed(changes, by=by.name, note=note, names=names):
            self._add(at, entry, by)

    def _add(self, at: datetime, entry: Entry, by: Person | str) -> None:
        events = self.rows[timeline_events]
        events.append(
            {
                "id": stable_id("timeline", self._place, len(events)),
                "incident_id": self.id,
                "type": entry.type,
                "occurred_at": at,
                "source": by if isinstance(by, str) else by.name,
                "title": entry.title,
                "description": entry.description,
                "severity": entry.severity,
                "actor_id": None if isinstance(by, str) else by.id,
                "metadata": as_json(entry.metadata),
                "created_at": at,
            }
        )

    def _incident_row(self) -> dict[str, Any]:
        incident = self._incident
        return {
            "id": self.id,
            "number": self._number,
            "title": self._fill(incident.title),
            "description": self._fill(incident.scenario.description),
            "severity": incident.severity,
            "status": IncidentStatus.RESOLVED,
            "source": incident.source,
            "started_at": incident.started_at,
            "detected_at": incident.detected_at,
            "acknowledged_at": incident.acknowledged_at,
            "mitigated_at": incident.mitigated_at,
            "resolved_at": incident.resolved_at,
            "commander_id": incident.commander.id,
            "root_cause": self._fill(incident.scenario.cause),
            "resolution": self._fill(incident.scenario.resolution),
            "postmortem_url": self._postmortem if self._last_change > incident.resolved_at else None,
            "labels": {"region": incident.blanks["region"]},
            "version": 1 + self._changes,
            "created_at": incident.detected_at,
            "updated_at": self._last_change,
        }

    def _impacts(self) -> Iterator[tuple[str, ImpactLevel]]:
        scenario = self._incident.scenario
        yield scenario.service, ImpactLevel.PRIMARY
        yield from ((service, ImpactLevel.SECONDARY) for service in scenario.hurts)
        yield from ((service, ImpactLevel.SUSPECTED) for service in scenario.suspected)

    def _impact_rows(self) -> Iterator[dict[str, Any]]:
        for service, level in self._impacts():
            yield {
                "incident_id": self.id,
                "service_id": self._service_ids[service],
                "level": level,
                "source": self._incident.source,
                "since": self._incident.started_at,
            }

    def _fill(self, text: str) -> str:
        return self._incident.fill(text, version=self._version)

    def _anybody(self) -> Person:
        return self._random.choice(self._incident.team)

    def _between(self, share: float) -> datetime:
        """A moment between acknowledgement (0) and the end of the pain (1)."""
        start, end = self._incident.acknowledged_at, self._incident.better_at
        return start + timedelta(seconds=round((end - start).total_seconds() * share))

    def _spread(self, items: Any, start: datetime, end: datetime, after: int = 0) -> Iterator[tuple[datetime, Any]]:
        """The items at even distances, the first one not right at the start."""
        start = min(start + timedelta(seconds=after), end)
        for position, item in enumerate(items, start=1):
            share = position / (len(items) + 1)
            yield start + timedelta(seconds=round((end - start).total_seconds() * share)), item
