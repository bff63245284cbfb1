"""The work on an incident: tasks, hypotheses and the steps that test them."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from actions import hypotheses, steps, tasks
from actions.hypotheses import HypothesisChanges, NewHypothesis
from actions.steps import NewStep, StepChanges
from actions.tasks import NewTask, TaskChanges
from db.correlation import analyses, correlations
from db.investigation import incident_tasks, investigation_hypotheses, investigation_steps
from domain.errors import NotFound, ValidationFailed
from domain.feed import EventType
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus
from domain.timeline import TimelineEventType
from tests.actions.conftest import NOON, Studio


@pytest.fixture
async def incident_id(studio) -> UUID:
    return await studio.open_incident("checkout")


async def told(studio: Studio, incident_id: UUID) -> list[tuple[TimelineEventType, str]]:
    return [(entry["type"], entry["title"]) for entry in (await studio.timeline(incident_id))[1:]]


async def payloads(studio: Studio, type: EventType) -> list[list[dict]]:
    return [event["payload"]["changes"] for event in await studio.events(type=type)]


async def refused(studio: Studio, action, *arguments) -> ValidationFailed | NotFound:
    before = await studio.written()
    with pytest.raises((ValidationFailed, NotFound)) as refusal:
        await studio.do(action, *arguments)
    assert await studio.written() == before
    return refusal.value


# Tasks


async def test_a_task_from_its_creation_to_its_end(studio, ada, incident_id):
    due = NOON + timedelta(days=7)
    new = NewTask(incident_id=incident_id, title="Call the bank", assignee_id=str(ada.id), due_at=due)
    id = await studio.do(tasks.create, new)
    task = await studio.row(incident_tasks, id)
    assert (task["status"], task["assignee_id"], task["due_at"]) == (TaskStatus.OPEN, ada.id, due)
    for status in ("in_progress", "DONE", "CANCELLED", "OPEN"):
        studio.wait(minutes=1)
        await studio.do(tasks.update, id, TaskChanges(status=status))
        task = await studio.row(incident_tasks, id)
        expected = NOON + timedelta(minutes=2) if status in ("DONE", "CANCELLED") else None
        assert (task["status"], task["completed_at"]) == (TaskStatus(status.upper()), expected)
    await studio.do(tasks.update, id, TaskChanges(title="Call the other bank", assignee_id=None))
    assert await told(studio, incident_id) == [
        (TimelineEventType.TASK, "Task added: Call the bank"),
        (TimelineEventType.TASK, "Task started: Call the bank"),
        (TimelineEventType.TASK, "Task done: Call the bank"),
        (TimelineEventType.TASK, "Task cancelled: Call the bank"),
        (TimelineEventType.TASK, "Task opened again: Call the bank"),
        (TimelineEventType.TASK, "Task changed: Call the other bank"),
    ]
    changes = await payloads(studio, EventType.TASK_CHANGED)
    assert changes[0] == [{"field": "status", "from": None, "to": "OPEN"}]
    assert changes[2] == [
        {"field": "status", "from": "IN_PROGRESS", "to": "DONE"},
        {"field": "completedAt", "from": None, "to": "2026-03-01T12:02:00Z"},
    ]
    assert changes[-1] == [
        {"field": "title", "from": "Call the bank", "to": "Call the other bank"},
        {"field": "assignee", "from": str(ada.id), "to": None},
    ]
    events = await studio.events(type=EventType.TASK_CHANGED)
    assert {(event["incident_id"], event["subject_id"]) for event in events} == {(incident_id, id)}


# Hypotheses


async def correlation(studio: Studio, incident_id: UUID) -> UUID:
    async with studio.database.writing(studio.now) as tx:
        analysis = await tx.insert(
            analyses,
            engine_version="1",
            incident_id=incident_id,
            status="COMPLETE",
            started_at=NOON,
            completed_at=NOON,
            confidence=0.5,
        )
        row = await tx.insert(
            correlations,
            incident_id=incident_id,
            analysis_id=analysis["id"],
            kind="METRIC",
            summary="Errors rose",
            score=0.9,
        )
    return row["id"]


async def test_a_hypothesis_from_its_proposal_to_its_rejection(studio, incident_id):
    evidence = await correlation(studio, incident_id)
    checkout = await studio.service("checkout")
    id = await studio.do(
        hypotheses.create,
        NewHypothesis(
            incident_id=incident_id,
            title="A full disk",
            service_id=checkout["id"],
            evidence_ids=[evidence, str(evidence)],
        ),
    )
    hypothesis = await studio.row(investigation_hypotheses, id)
    assert (hypothesis["status"], hypothesis["confidence"]) == (HypothesisStatus.PROPOSED, 0.5)
    assert (hypothesis["service_id"], hypothesis["evidence_ids"]) == (checkout["id"], [evidence])
    studio.wait(minutes=1)
    await studio.do(hypotheses.update, id, HypothesisChanges(status="REJECTED", confidence=0, evidence_ids=None))
    hypothesis = await studio.row(investigation_hypotheses, id)
    assert (hypothesis["confidence"], hypothesis["evidence_ids"], hypothesis["updated_at"]) == (0, [], studio.now)
    assert await told(studio, incident_id) == [
        (TimelineEventType.HYPOTHESIS, "Hypothesis added: A full disk"),
        (TimelineEventType.HYPOTHESIS, "Hypothesis rejected: A full disk"),
    ]
    changes = await payloads(studio, EventType.HYPOTHESIS_CHANGED)
    assert changes[1] == [
        {"field": "status", "from": "PROPOSED", "to": "REJECTED"},
        {"field": "confidence", "from": 0.5, "to": 0.0},
        {"field": "evidence", "from": [str(evidence)], "to": []},
    ]


async def test_the_evidence_of_a_hypothesis_is_about_its_own_incident(studio, incident_id):
    elsewhere = await correlation(studio, await studio.open_incident())
    here = await correlation(studio, incident_id)
    new = NewHypothesis(incident_id=incident_id, title="x", evidence_ids=[here, elsewhere])
    error = await refused(studio, hypotheses.create, new)
    assert (error.message, error.path) == (f"This incident has no correlation {elsewhere}", ("evidenceIds", "1"))


# Steps


async def test_a_step_from_its_plan_to_its_findings(studio, ada, incident_id):
    hypothesis_id = await studio.do(hypotheses.create, NewHypothesis(incident_id=incident_id, title="A full disk"))
    id = await studio.do(
        steps.create,
        NewStep(incident_id=incident_id, hypothesis_id=hypothesis_id, title="Look at the disk", action="df -h"),
    )
    studio.wait(minutes=1)
    done = StepChanges(status="COMPLETED", findings={"free_bytes": 0, "mounts": ["/var"]}, assignee_id=ada.id)
    await studio.do(steps.update, id, done)
    step = await studio.row(investigation_steps, id)
    assert (step["status"], step["completed_at"]) == (StepStatus.COMPLETED, studio.now)
    assert (step["hypothesis_id"], step["findings"]) == (hypothesis_id, {"free_bytes": 0, "mounts": ["/var"]})
    assert (await told(studio, incident_id))[1:] == [
        (TimelineEventType.HYPOTHESIS, "Step added: Look at the disk"),
        (TimelineEventType.HYPOTHESIS, "Step completed: Look at the disk"),
    ]
    assert len(await studio.events(type=EventType.STEP_CHANGED, subject_id=id)) == 2


async def test_a_step_tests_a_hypothesis_about_its_own_incident(studio, incident_id):
    other = await studio.open_incident()
    elsewhere = await studio.do(hypotheses.create, NewHypothesis(incident_id=other, title="A full disk"))
    step_id = await studio.do(steps.create, NewStep(incident_id=incident_id, title="x"))
    for action, arguments in (
        (steps.create, [NewStep(incident_id=incident_id, title="x", hypothesis_id=elsewhere)]),
        (steps.update, [step_id, StepChanges(hypothesis_id=elsewhere)]),
    ):
        error = await refused(studio, action, *arguments)
        assert (error.message, error.path) == (f"This incident has no hypothesis {elsewhere}", ("hypothesisId",))


# All three


async def test_what_is_as_wanted_is_left_alone(studio, incident_id):
    task = await studio.do(tasks.create, NewTask(incident_id=incident_id, title="a"))
    hypothesis = await studio.do(hypotheses.create, NewHypothesis(incident_id=incident_id, title="a"))
    step = await studio.do(steps.create, NewStep(incident_id=incident_id, title="a"))
    before = await studio.written()
    await studio.do(tasks.update, task, TaskChanges(title="a", status="OPEN"))
    await studio.do(hypotheses.update, hypothesis, HypothesisChanges(title="a", confidence=0.5))
    await studio.do(steps.update, step, StepChanges(title="a", findings={}))
    assert await studio.written() == before


async def test_nothing_is_added_to_an_incident_that_is_not_there(studio):
    nowhere = uuid4()
    for action, new in (
        (tasks.create, NewTask(incident_id=nowhere, title="a")),
        (hypotheses.create, NewHypothesis(incident_id=nowhere, title="a")),
        (steps.create, NewStep(incident_id=nowhere, title="a")),
    ):
        error = await refused(studio, action, new)
        assert (error.message, error.path) == (f"There is no incident {nowhere}", ("incidentId",))
    for action, changes, noun in (
        (tasks.update, TaskChanges(title="b"), "task"),
        (hypotheses.update, HypothesisChanges(title="b"), "hypothesis"),
        (steps.update, StepChanges(title="b"), "step"),
    ):
        error = await refused(studio, action, nowhere, changes)
        assert (error.message, error.path) == (f"There is no {noun} {nowhere}", ("id",))


async def test_what_cannot_be_is_refused_with_the_field(studio, incident_id):
    about = {"incident_id": incident_id}
    for action, new, path in (
        (tasks.create, NewTask(title="", **about), ("title",)),
        (tasks.create, NewTask(title="x", assignee_id=uuid4(), **about), ("assigneeId",)),
        (tasks.create, NewTask(title="x", due_at=NOON.replace(tzinfo=None), **about), ("dueAt",)),
        (hypotheses.create, NewHypothesis(title=None, **about), ("title",)),
        (hypotheses.create, NewHypothesis(title="x", confidence=1.01, **about), ("confidence",)),
        (hypotheses.create, NewHypothesis(title="x", confidence=float("nan"), **about), ("confidence",)),
        (hypotheses.create, NewHypothesis(title="x", service_id="checkout", **about), ("serviceId",)),
        (hypotheses.create, NewHypothesis(title="x", status="SURE", **about), ("status",)),
        (steps.create, NewStep(title="x" * 301, **about), ("title",)),
        (steps.create, NewStep(title="x", findings=[], **about), ("findings",)),
        (steps.create, NewStep(title="x", action="\0", **about), ("action",)),
    ):
        assert (await refused(studio, action, new)).path == path
