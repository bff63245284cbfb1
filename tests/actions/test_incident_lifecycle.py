"""The lifecycle of incidents, as people and programs drive it."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from actions import incidents
from domain.errors import DomainError, InvalidTransition, NotFound, ValidationFailed
from domain.feed import EventType
from domain.incidents import IncidentStatus
from domain.timeline import TimelineEventType
from tests.actions.conftest import NOON, Studio

OPEN, INVESTIGATING, MITIGATED, RESOLVED = IncidentStatus


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


async def told(studio: Studio, incident_id: UUID) -> list[tuple[TimelineEventType, str]]:
    return [(entry["type"], entry["title"]) for entry in await studio.timeline(incident_id)]


async def refusal(studio: Studio, kind: type[DomainError], action, *arguments, **options) -> DomainError:
    """The error that an action raises, having written nothing."""
    before = await studio.written()
    with pytest.raises(kind) as raised:
        await studio.do(action, *arguments, **options)
    assert await studio.written() == before
    return raised.value


async def test_an_incident_from_detection_to_resolution_as_its_timeline_tells_it(studio):
    id = await studio.open_incident("checkout")
    for action, options in (
        (incidents.acknowledge, {}),
        (incidents.mitigate, {"note": "Traffic moved to the other region"}),
        (incidents.resolve, {"root_cause": "A full disk", "resolution": "Disk grown"}),
    ):
        studio.wait(minutes=5)
        assert await studio.do(action, id, **options) == id
    incident = await studio.incident(id)
    assert incident["status"] is RESOLVED
    assert [incident[time] for time in ("acknowledged_at", "mitigated_at", "resolved_at", "updated_at")] == [
        NOON + minutes(5),
        NOON + minutes(10),
        NOON + minutes(15),
        NOON + minutes(15),
    ]
    assert incident["version"] == 4
    assert [
        (entry["type"], entry["title"], entry["description"], entry["occurred_at"])
        for entry in await studio.timeline(id)
    ] == [
        (TimelineEventType.DETECTED, "Opened by deploy-pipeline: checkout affected", "", NOON),
        (TimelineEventType.STATUS_CHANGE, "Acknowledged by deploy-pipeline", "", NOON + minutes(5)),
        (
            TimelineEventType.MITIGATION,
            "Mitigated by deploy-pipeline",
            "Traffic moved to the other region",
            NOON + minutes(10),
        ),
        (
            TimelineEventType.RESOLUTION,
            "Resolved by deploy-pipeline",
            "Root cause: A full disk\n\nResolution: Disk grown",
            NOON + minutes(15),
        ),
    ]
    [resolved] = [event for event in await studio.events(type=EventType.INCIDENT_UPDATED)][2:]
    assert resolved["payload"] == {
        "changes": [
            {"field": "rootCause", "from": None, "to": "A full disk"},
            {"field": "resolution", "from": None, "to": "Disk grown"},
            {"field": "status", "from": "MITIGATED", "to": "RESOLVED"},
            {"field": "resolvedAt", "from": None, "to": "2026-03-01T12:15:00Z"},
        ]
    }
    audit = (await studio.audit(subject_id=id))[-1]
    assert audit["action"] == "incident.resolve"
    assert audit["before"] == {"root_cause": None, "resolution": None, "status": "MITIGATED", "resolved_at": None}
    assert audit["after"]["resolved_at"] == "2026-03-01T12:15:00Z"


async def test_resolving_an_unacknowledged_incident_does_not_pretend_that_somebody_acknowledged_it(studio):
    id = await studio.open_incident()
    await studio.do(incidents.resolve, id)
    incident = await studio.incident(id)
    assert incident["resolved_at"] == NOON
    assert (incident["acknowledged_at"], incident["mitigated_at"]) == (None, None)


@pytest.mark.parametrize("action", [incidents.acknowledge, incidents.mitigate, incidents.resolve])
async def test_doing_it_twice_is_a_conflict_and_changes_nothing(studio, action):
    id = await studio.open_incident()
    await studio.do(action, id)
    error = await refusal(studio, InvalidTransition, action, id)
    assert error.current_version == 2
    assert error.message.endswith("already")


async def test_of_twenty_who_acknowledge_at_once_one_does(studio):
    id = await studio.open_incident()
    outcomes = await asyncio.gather(*(studio.do(incidents.acknowledge, id) for _ in range(20)), return_exceptions=True)
    assert outcomes.count(id) == 1
    assert sum(isinstance(outcome, InvalidTransition) for outcome in outcomes) == 19
    assert [title for _, title in await told(studio, id)].count("Acknowledged by deploy-pipeline") == 1


async def test_reopening_clears_the_ends_and_says_why(studio):
    id = await studio.open_incident("checkout")
    await studio.do(incidents.acknowledge, id)
    await studio.do(incidents.mitigate, id)
    await studio.do(incidents.resolve, id, root_cause="A full disk")
    studio.wait(minutes=30)
    await studio.do(incidents.reopen, id, reason="It is full again")
    incident = await studio.incident(id)
    assert incident["status"] is INVESTIGATING
    assert (incident["mitigated_at"], incident["resolved_at"]) == (None, None)
    assert incident["acknowledged_at"] == NOON
    assert incident["root_cause"] == "A full disk"
    last = (await studio.timeline(id))[-1]
    assert (last["type"], last["title"]) == (TimelineEventType.STATUS_CHANGE, "Reopened by deploy-pipeline")
    assert (last["description"], last["occurred_at"]) == ("It is full again", NOON + minutes(30))


async def test_reopening_needs_a_reason_and_an_end(studio):
    id = await studio.open_incident()
    assert (await refusal(studio, ValidationFailed, incidents.reopen, id, reason=" ")).path == ("reason",)
    error = await refusal(studio, InvalidTransition, incidents.reopen, id, reason="because")
    assert error.message == "The incident is neither mitigated nor resolved, so there is nothing to reopen"


async def test_an_incident_that_is_not_there_is_not_found(studio):
    nowhere = uuid4()
    for action, options in (
        (incidents.acknowledge, {}),
        (incidents.mitigate, {}),
        (incidents.resolve, {}),
        (incidents.reopen, {"reason": "x"}),
    ):
        error = await refusal(studio, NotFound, action, nowhere, **options)
        assert (error.message, error.path) == (f"There is no incident {nowhere}", ("id",))
