"""What a change leaves behind: everything or nothing."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from actions import impacts, incidents, timeline
from db.audit import audit_log
from db.outbox import outbox
from db.timeline import timeline_events
from domain.feed import EventType
from domain.incidents import ImpactLevel


@pytest.mark.parametrize("table", ["audit_log", "timeline_events", "outbox"])
async def test_a_change_that_cannot_be_recorded_does_not_happen(studio, table):
    id = await studio.open_incident("checkout")
    before = await studio.written(), await studio.incident(id), await studio.service("checkout")
    await rename(studio, table, "hidden")
    with pytest.raises(ProgrammingError):
        await studio.do(incidents.resolve, id)
    await rename(studio, "hidden", table)
    assert (await studio.written(), await studio.incident(id), await studio.service("checkout")) == before


async def rename(studio, old: str, new: str) -> None:
    async with studio.database.writing(studio.now) as tx:
        await tx.execute(text(f"alter table {old} rename to {new}"))


async def test_every_timeline_entry_has_its_event_and_every_change_its_audit_entry(studio):
    id = await studio.open_incident("checkout")
    checkout = await studio.service("checkout")
    await studio.do(incidents.acknowledge, id)
    await studio.do(timeline.add_note, id, "Looking at the database")
    await studio.do(impacts.set_service_impact, id, checkout["id"], ImpactLevel.SUSPECTED)
    await studio.do(incidents.resolve, id)
    told = await studio.events(type=EventType.TIMELINE_EVENT_ADDED)
    entries = await studio.timeline(id)
    assert [event["subject_id"] for event in told] == [entry["id"] for entry in entries]
    assert len(entries) == 5
    assert [row["action"] for row in await studio.rows(audit_log)] == [
        "service.discover",
        "incident.create",
        "service.follow_incidents",
        "incident.acknowledge",
        "timeline_event.add_note",
        "impact.set",
        "service.follow_incidents",
        "incident.resolve",
    ]


async def test_the_event_of_a_change_comes_before_the_event_of_its_timeline_entry(studio):
    id = await studio.open_incident()
    await studio.do(incidents.resolve, id)
    assert [event["type"] for event in await studio.rows(outbox)] == [
        EventType.INCIDENT_CREATED,
        EventType.TIMELINE_EVENT_ADDED,
        EventType.INCIDENT_UPDATED,
        EventType.TIMELINE_EVENT_ADDED,
    ]


async def test_what_is_told_never_outgrows_its_column(studio):
    long = "x" * 300
    id = await studio.open_incident(*(f"{position:3}" + "y" * 190 for position in range(20)), title=long)
    await studio.do(incidents.update, id, incidents.IncidentChanges(title="z" * 300))
    await studio.do(incidents.resolve, id, root_cause="r" * 20_000, resolution="s" * 20_000)
    entries = await studio.rows(timeline_events, incident_id=id)
    assert [len(entry["title"]) for entry in entries] == [300, 300, len("Resolved by deploy-pipeline")]
    assert entries[0]["title"].endswith("…")
    assert len(entries[2]["description"]) == 20_000
    assert (await studio.incident(id))["resolution"] == "s" * 20_000
