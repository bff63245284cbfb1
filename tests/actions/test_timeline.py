"""What people add to the story of an incident."""

from datetime import timedelta
from uuid import uuid4

import pytest

from actions import incidents, timeline
from domain.errors import NotFound, ValidationFailed
from domain.feed import EventType
from domain.timeline import TimelineEventType
from tests.actions.conftest import NOON


async def test_a_note_is_a_line_of_the_timeline_with_its_event(studio, ada):
    incident_id = await studio.open_incident("checkout")
    id = await studio.do(timeline.add_note, incident_id, "\nRestarted the pods.\n\n  * all three\n", actor=ada)
    note = (await studio.timeline(incident_id))[-1]
    assert (note["id"], note["type"], note["title"]) == (id, TimelineEventType.NOTE, "Restarted the pods.")
    assert note["description"] == "\nRestarted the pods.\n\n  * all three\n"
    assert (note["actor_id"], note["source"], note["occurred_at"]) == (ada.id, "Ada Lovelace", NOON)
    [event] = await studio.events(subject_id=id)
    assert (event["type"], event["incident_id"]) == (EventType.TIMELINE_EVENT_ADDED, incident_id)
    assert event["service_ids"] == [(await studio.service("checkout"))["id"]]
    assert (await studio.incident(incident_id))["version"] == 1


async def test_a_note_may_be_about_an_earlier_moment_of_the_incident_even_after_its_end(studio):
    incident_id = await studio.open_incident()
    await studio.do(incidents.resolve, incident_id)
    studio.wait(days=30)
    when = NOON + timedelta(minutes=1)
    id = await studio.do(timeline.add_note, incident_id, "The alert came late", occurred_at=when)
    note = next(entry for entry in await studio.timeline(incident_id) if entry["id"] == id)
    assert (note["occurred_at"], note["created_at"]) == (when, studio.now)


@pytest.mark.parametrize(
    ("text", "occurred_at", "message", "path"),
    [
        (" \n", None, "Text is required", ("text",)),
        (None, None, "Text is required", ("text",)),
        ("x" * 20_001, None, "Text is longer than 20000 characters", ("text",)),
        ("a\0b", None, "Text holds a NUL character", ("text",)),
        ("x", NOON + timedelta(seconds=61), "Occurred at lies in the future", ("occurredAt",)),
        ("x", NOON - timedelta(seconds=1), "Occurred at lies before the incident started", ("occurredAt",)),
        ("x", NOON.replace(tzinfo=None), "Occurred at needs an offset from UTC", ("occurredAt",)),
    ],
)
async def test_a_note_that_cannot_be_is_refused_with_the_field(studio, text, occurred_at, message, path):
    incident_id = await studio.open_incident()
    before = await studio.written()
    with pytest.raises(ValidationFailed, match=message) as refusal:
        await studio.do(timeline.add_note, incident_id, text, occurred_at=occurred_at)
    assert refusal.value.path == path
    assert await studio.written() == before


async def test_a_note_needs_an_incident(studio):
    with pytest.raises(NotFound) as refusal:
        await studio.do(timeline.add_note, uuid4(), "x")
    assert refusal.value.path == ("incidentId",)
