"""The status of services follows the incidents that hurt them."""

import asyncio

import pytest

from actions import impacts, incidents
from actions.incidents import AffectedService, IncidentChanges, NewIncident
from db.incidents import incidents_services
from domain.errors import NotFound
from domain.feed import EventType
from domain.incidents import ImpactLevel, Severity
from domain.services import ServiceStatus
from domain.timeline import TimelineEventType
from tests.actions.conftest import NOON

PRIMARY, SECONDARY, SUSPECTED = ImpactLevel
HEALTHY, DEGRADED, DOWN, UNKNOWN = ServiceStatus


async def status(studio, name: str) -> ServiceStatus:
    return (await studio.service(name))["status"]


async def test_a_critical_incident_takes_its_first_service_down_and_degrades_the_others(studio):
    id = await studio.open_incident("checkout", "payments", severity=Severity.CRITICAL)
    assert (await status(studio, "checkout"), await status(studio, "payments")) == (DOWN, DEGRADED)
    await studio.do(incidents.update, id, IncidentChanges(severity="LOW"))
    assert await status(studio, "checkout") is DEGRADED
    await studio.do(incidents.resolve, id)
    assert (await status(studio, "checkout"), await status(studio, "payments")) == (HEALTHY, HEALTHY)
    await studio.do(incidents.reopen, id, reason="again")
    assert await status(studio, "checkout") is DEGRADED


async def test_a_service_stays_degraded_until_its_last_incident_is_resolved(studio):
    first, second = await studio.open_incident("checkout"), await studio.open_incident("checkout")
    await studio.do(incidents.resolve, first)
    assert await status(studio, "checkout") is DEGRADED
    await studio.do(incidents.resolve, second)
    assert await status(studio, "checkout") is HEALTHY


async def test_a_change_of_status_is_told_in_the_same_transaction_and_leaves_the_version_alone(studio):
    await studio.open_incident("checkout")
    checkout = await studio.service("checkout")
    discovered, followed = await studio.events(type=EventType.SERVICE_CHANGED)
    assert discovered["payload"] == {"changes": [{"field": "status", "from": None, "to": "UNKNOWN"}]}
    assert followed["payload"] == {"changes": [{"field": "status", "from": "UNKNOWN", "to": "DEGRADED"}]}
    assert (followed["subject_id"], followed["service_ids"]) == (checkout["id"], [checkout["id"]])
    assert checkout["version"] == 1


async def test_incidents_of_one_service_resolved_at_once_leave_it_healthy(studio):
    ids = [await studio.open_incident("checkout", "payments") for _ in range(10)]
    reversed_ids = [
        await studio.do(
            incidents.create,
            NewIncident(
                title="x",
                severity="CRITICAL",
                services=[AffectedService(service="payments"), AffectedService(service="checkout")],
            ),
        )
        for _ in range(10)
    ]
    await asyncio.gather(*(studio.do(incidents.resolve, id) for id in ids + reversed_ids))
    assert (await status(studio, "checkout"), await status(studio, "payments")) == (HEALTHY, HEALTHY)


async def test_setting_an_impact_tells_the_timeline_and_the_listeners(studio):
    id = await studio.open_incident("checkout")
    await studio.do(incidents.create, NewIncident(title="x", severity="LOW", services=[AffectedService(service="db")]))
    db = await studio.service("db")
    for level in (SUSPECTED, PRIMARY, None):
        assert await studio.do(impacts.set_service_impact, id, db["id"], level) == id
    entries = (await studio.timeline(id))[1:]
    assert [(entry["type"], entry["title"]) for entry in entries] == [
        (TimelineEventType.IMPACT, "db is affected: SUSPECTED"),
        (TimelineEventType.IMPACT, "db: impact changed from SUSPECTED to PRIMARY"),
        (TimelineEventType.IMPACT, "db is no longer affected"),
    ]
    events = await studio.events(type=EventType.SERVICE_IMPACT_CHANGED)
    assert [event["payload"]["changes"] for event in events] == [
        [{"field": "level", "from": None, "to": "SUSPECTED"}],
        [{"field": "level", "from": "SUSPECTED", "to": "PRIMARY"}],
        [{"field": "level", "from": "PRIMARY", "to": None}],
    ]
    checkout = await studio.service("checkout")
    for event in events:
        assert (event["incident_id"], event["subject_id"], event["severity"]) == (id, db["id"], Severity.HIGH)
        assert event["service_ids"] == [db["id"], checkout["id"]]


async def test_an_impact_begins_when_it_is_said_and_a_new_level_keeps_that(studio):
    id = await studio.open_incident()
    other = await studio.open_incident("db")
    studio.wait(minutes=3)
    db = await studio.service("db")
    await studio.do(impacts.set_service_impact, id, db["id"], SECONDARY)
    said = studio.now
    studio.wait(minutes=3)
    await studio.do(impacts.set_service_impact, id, db["id"], PRIMARY)
    [impact] = await studio.rows(incidents_services, incident_id=id)
    assert (impact["level"], impact["since"]) == (PRIMARY, said)
    [first] = await studio.rows(incidents_services, incident_id=other)
    assert first["since"] == NOON


async def test_impacts_move_the_status(studio):
    id = await studio.open_incident("db", severity=Severity.CRITICAL)
    db = await studio.service("db")
    for level, expected in ((SUSPECTED, HEALTHY), (SECONDARY, DEGRADED), (PRIMARY, DOWN), (None, HEALTHY)):
        await studio.do(impacts.set_service_impact, id, db["id"], level)
        assert await status(studio, "db") is expected


@pytest.mark.parametrize("level", [None, PRIMARY])
async def test_an_impact_that_is_as_wanted_is_left_alone(studio, level):
    id = await studio.open_incident("checkout")
    service = await studio.service("checkout")
    await studio.do(impacts.set_service_impact, id, service["id"], level)
    before = await studio.written()
    await studio.do(impacts.set_service_impact, id, service["id"], level)
    assert await studio.written() == before


async def test_impacts_need_an_incident_and_a_service(studio):
    id = await studio.open_incident("checkout")
    service = await studio.service("checkout")
    for arguments, path in (((service["id"], service["id"]), ("incidentId",)), ((id, id), ("serviceId",))):
        with pytest.raises(NotFound) as refusal:
            await studio.do(impacts.set_service_impact, *arguments, PRIMARY)
        assert refusal.value.path == path
