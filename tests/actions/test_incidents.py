"""What happens when people work on incidents."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions import incidents
from actions.incidents import AffectedService, IncidentChanges, NewIncident
from db.incidents import incidents_services
from domain.errors import Conflict, DomainError, InvalidTransition, ValidationFailed
from domain.feed import EventType
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity
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


# Opening


async def test_an_opened_incident_comes_with_its_timeline_audit_entry_and_events(studio, ada):
    id = await studio.do(
        incidents.create,
        NewIncident(
            title=" Checkout is failing ",
            severity="critical",
            description="Cards are declined",
            services=[AffectedService(service="checkout"), AffectedService(service="payments")],
            source=IncidentSource.API,
            commander_id=ada.id,
            labels={"region": "eu"},
        ),
        actor=ada,
    )
    incident = await studio.incident(id)
    del incident["search"]
    assert incident == {
        "id": id,
        "number": 1,
        "title": "Checkout is failing",
        "description": "Cards are declined",
        "severity": Severity.CRITICAL,
        "status": OPEN,
        "source": IncidentSource.API,
        "started_at": NOON,
        "detected_at": NOON,
        "acknowledged_at": None,
        "mitigated_at": None,
        "resolved_at": None,
        "commander_id": ada.id,
        "root_cause": None,
        "resolution": None,
        "postmortem_url": None,
        "labels": {"region": "eu"},
        "version": 1,
        "created_at": NOON,
        "updated_at": NOON,
    }
    checkout, payments = await studio.service("checkout"), await studio.service("payments")
    impacts = {row["service_id"]: row["level"] for row in await studio.rows(incidents_services, incident_id=id)}
    assert impacts == {checkout["id"]: ImpactLevel.PRIMARY, payments["id"]: ImpactLevel.SECONDARY}

    [entry] = await studio.timeline(id)
    assert entry["type"] is TimelineEventType.DETECTED
    assert entry["title"] == "Opened by Ada Lovelace: checkout, payments affected"
    assert (entry["actor_id"], entry["source"], entry["severity"]) == (ada.id, "Ada Lovelace", Severity.CRITICAL)

    [audit] = await studio.audit(subject_id=id)
    assert (audit["action"], audit["subject_type"], audit["before"]) == ("incident.create", "incident", None)
    assert (audit["actor_id"], audit["actor_name"]) == (ada.id, "Ada Lovelace")
    assert (audit["request_id"], audit["address"]) == ("r-1", "192.0.2.7")
    assert audit["after"]["title"] == "Checkout is failing"
    assert audit["after"]["started_at"] == "2026-03-01T12:00:00Z"

    created, added = await studio.events(incident_id=id)
    assert (created["type"], created["subject_id"]) == (EventType.INCIDENT_CREATED, id)
    assert (added["type"], added["subject_id"]) == (EventType.TIMELINE_EVENT_ADDED, entry["id"])
    for event in (created, added):
        assert event["service_ids"] == [checkout["id"], payments["id"]]
        assert event["severity"] is Severity.CRITICAL
        assert (event["actor_id"], event["occurred_at"]) == (ada.id, NOON)


async def test_an_actor_who_is_no_user_is_named_all_the_same(studio):
    ghost = type(studio.actor)(id=uuid4(), name="bootstrap token", role=studio.actor.role)
    id = await studio.do(incidents.create, NewIncident(title="x", severity="LOW"), actor=ghost)
    [entry] = await studio.timeline(id)
    assert (entry["actor_id"], entry["source"], entry["title"]) == (
        None,
        "bootstrap token",
        "Opened by bootstrap token",
    )


@pytest.mark.parametrize(
    ("new", "message", "path"),
    [
        (NewIncident(title=None, severity="LOW"), "Title is required", ("title",)),
        (NewIncident(title="x" * 301, severity="LOW"), "Title is longer than 300 characters", ("title",)),
        (
            NewIncident(title="x", severity="urgent"),
            "Severity must be one of LOW, MEDIUM, HIGH, CRITICAL",
            ("severity",),
        ),
        (NewIncident(title="x", severity=None), "Severity is required", ("severity",)),
        (
            NewIncident(title="x", severity="LOW", started_at=NOON + minutes(2)),
            "Started at lies in the future",
            ("startedAt",),
        ),
        (
            NewIncident(title="x", severity="LOW", started_at=NOON, detected_at=NOON - minutes(2)),
            "Detected at lies before the incident started",
            ("detectedAt",),
        ),
        (NewIncident(title="x", severity="LOW", commander_id="ada"), "There is no user 'ada'", ("commanderId",)),
        (
            NewIncident(title="x", severity="LOW", commander_id=UUID(int=7)),
            f"There is no user {UUID(int=7)}",
            ("commanderId",),
        ),
        (
            NewIncident(
                title="x",
                severity="LOW",
                services=[AffectedService(service="new"), AffectedService(service=str(UUID(int=7)))],
            ),
            f"There is no service {UUID(int=7)}",
            ("services", "1"),
        ),
        (
            NewIncident(title="x", severity="LOW", services=[AffectedService(service="bad\ud800")]),
            "Name is not valid Unicode: it holds half of a surrogate pair",
            ("services", "0"),
        ),
        (
            NewIncident(title="x", severity="LOW", services=[AffectedService(service=f"{i}") for i in range(101)]),
            "An incident has 100 services at most",
            ("services",),
        ),
        (
            NewIncident(title="x", severity="LOW", labels=["a"]),
            "Labels must be an object of names and texts",
            ("labels",),
        ),
    ],
)
async def test_an_incident_that_cannot_be_is_refused_with_the_field_and_nothing_is_written(studio, new, message, path):
    error = await refusal(studio, ValidationFailed, incidents.create, new, idempotency_key="k")
    assert (error.message, error.path) == (message, path)


async def test_twenty_incidents_opened_at_once_get_the_next_twenty_numbers(studio):
    await studio.open_incident("checkout")

    async def open_or_fail(position: int) -> None:
        services = [AffectedService(service=name) for name in ("checkout", f"service-{position % 5}")]
        if position % 4 == 0:  # some requests fail after others have begun to wait
            services.append(AffectedService(service=uuid4()))
        await studio.do(incidents.create, NewIncident(title=f"{position}", severity="LOW", services=services))

    outcomes = await asyncio.gather(*map(open_or_fail, range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, ValidationFailed) for outcome in outcomes) == 5
    assert sum(outcome is None for outcome in outcomes) == 15
    async with studio.database.reading() as connection:
        numbers = (await connection.exec_driver_sql("select number from incidents order by number")).scalars().all()
    assert numbers == list(range(1, 17))


async def test_services_are_found_by_id_or_name_in_any_case_and_each_counts_once(studio):
    first = await studio.open_incident("Checkout")
    checkout = await studio.service("Checkout")
    again = [str(checkout["id"]), "CHECKOUT", checkout["id"], " checkout "]
    second = await studio.do(
        incidents.create,
        NewIncident(title="x", severity="LOW", services=[AffectedService(service=service) for service in again]),
    )
    for id in (first, second):
        [impact] = await studio.rows(incidents_services, incident_id=id)
        assert (impact["service_id"], impact["level"]) == (checkout["id"], ImpactLevel.PRIMARY)
    assert checkout["discovered_at"] == NOON


async def test_the_level_of_an_impact_can_be_given(studio):
    id = await studio.do(
        incidents.create,
        NewIncident(
            title="x", severity="LOW", services=[AffectedService(service="checkout", level=ImpactLevel.SUSPECTED)]
        ),
    )
    [impact] = await studio.rows(incidents_services, incident_id=id)
    assert impact["level"] is ImpactLevel.SUSPECTED


# Changing


async def test_each_changed_field_is_told_in_words(studio, ada):
    id = await studio.open_incident("checkout", labels={"a": "b"})
    await studio.do(
        incidents.update,
        id,
        IncidentChanges(
            title="Checkout declines cards",
            severity=Severity.CRITICAL,
            commander_id=ada.id,
            root_cause="A full disk",
            postmortem_url="https://example.org/42",
            labels=None,
            started_at=NOON - minutes(3),
        ),
    )
    assert sorted((await told(studio, id))[1:]) == sorted(
        [
            (TimelineEventType.FIELD_CHANGE, "Title set to Checkout declines cards"),
            (TimelineEventType.SEVERITY_CHANGE, "Severity raised from HIGH to CRITICAL"),
            (TimelineEventType.FIELD_CHANGE, "Commander set to Ada Lovelace"),
            (TimelineEventType.FIELD_CHANGE, "Root cause changed"),
            (TimelineEventType.FIELD_CHANGE, "Postmortem URL set to https://example.org/42"),
            (TimelineEventType.FIELD_CHANGE, "Labels removed"),
            (TimelineEventType.FIELD_CHANGE, "Started at set to 2026-03-01 11:57:00 UTC"),
        ]
    )
    [event] = await studio.events(type=EventType.INCIDENT_UPDATED)
    assert event["severity"] is Severity.CRITICAL
    fields = {change["field"]: (change["from"], change["to"]) for change in event["payload"]["changes"]}
    assert fields == {
        "title": ("Checkout is failing", "Checkout declines cards"),
        "severity": ("HIGH", "CRITICAL"),
        "commander": (None, str(ada.id)),
        "rootCause": (None, "A full disk"),
        "postmortemUrl": (None, "https://example.org/42"),
        "labels": ({"a": "b"}, {}),
        "startedAt": ("2026-03-01T12:00:00Z", "2026-03-01T11:57:00Z"),
    }
    assert (await studio.incident(id))["version"] == 2


async def test_a_change_that_changes_nothing_writes_nothing(studio):
    id = await studio.open_incident("checkout", description="as before")
    before = await studio.written(), await studio.incident(id)
    studio.wait(minutes=1)
    same = IncidentChanges(title="Checkout is failing", description="as before", severity="high", status="OPEN")
    await studio.do(incidents.update, id, same)
    await studio.do(incidents.update, id, IncidentChanges())
    assert (await studio.written(), await studio.incident(id)) == before


async def test_a_change_that_rests_on_an_old_version_is_a_conflict_with_the_version_of_now(studio):
    id = await studio.open_incident()
    await studio.do(incidents.update, id, IncidentChanges(title="a"), expected_version=1)
    error = await refusal(studio, Conflict, incidents.update, id, IncidentChanges(title="b"), expected_version=1)
    assert (error.current_version, error.path) == (2, ("expectedVersion",))
    assert error.message == "INC-1 is at version 2 now, not 1: read it again and decide anew"


async def test_of_twenty_changes_of_one_version_one_wins(studio):
    id = await studio.open_incident()
    outcomes = await asyncio.gather(
        *(
            studio.do(incidents.update, id, IncidentChanges(title=f"{position}"), expected_version=1)
            for position in range(20)
        ),
        return_exceptions=True,
    )
    assert outcomes.count(id) == 1
    assert {outcome.current_version for outcome in outcomes if isinstance(outcome, Conflict)} == {2}
    assert len(await studio.events(type=EventType.INCIDENT_UPDATED)) == 1


async def test_changing_the_status_skips_forward_and_stamps_the_time_or_keeps_the_one_given(studio):
    id = await studio.open_incident()
    studio.wait(minutes=10)
    await studio.do(
        incidents.update, id, IncidentChanges(status="mitigated", mitigated_at=NOON + minutes(4), title="Still slow")
    )
    await studio.do(incidents.update, id, IncidentChanges(status="RESOLVED", root_cause="A full disk"))
    incident = await studio.incident(id)
    assert (incident["mitigated_at"], incident["resolved_at"]) == (NOON + minutes(4), NOON + minutes(10))
    assert incident["acknowledged_at"] is None
    assert (await told(studio, id))[1:] == [
        (TimelineEventType.MITIGATION, "Mitigated by deploy-pipeline"),
        (TimelineEventType.FIELD_CHANGE, "Title set to Still slow"),
        (TimelineEventType.RESOLUTION, "Resolved by deploy-pipeline"),
    ]
    mitigated = (await studio.timeline(id))[1]
    assert mitigated["occurred_at"] == NOON + minutes(4)


async def test_the_status_goes_back_only_by_reopening(studio):
    id = await studio.open_incident()
    await studio.do(incidents.resolve, id)
    error = await refusal(studio, InvalidTransition, incidents.update, id, IncidentChanges(status="OPEN"))
    assert (error.message, error.path) == (
        "The incident is resolved: it goes back only by being reopened",
        ("status",),
    )


async def test_a_resolved_incident_still_gets_its_postmortem_and_its_cause_and_better_times(studio):
    id = await studio.open_incident()
    studio.wait(minutes=30)
    await studio.do(incidents.resolve, id)
    await studio.do(
        incidents.update,
        id,
        IncidentChanges(
            root_cause="A full disk",
            resolution="Disk grown",
            postmortem_url="https://example.org/1",
            resolved_at=NOON + minutes(20),
            acknowledged_at=NOON + minutes(1),
        ),
    )
    incident = await studio.incident(id)
    assert (incident["root_cause"], incident["resolution"]) == ("A full disk", "Disk grown")
    assert (incident["acknowledged_at"], incident["resolved_at"]) == (NOON + minutes(1), NOON + minutes(20))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (IncidentChanges(title=None), ("title",)),
        (IncidentChanges(severity=None), ("severity",)),
        (IncidentChanges(status=None), ("status",)),
        (IncidentChanges(started_at=None), ("startedAt",)),
        (IncidentChanges(postmortem_url="javascript:alert(1)"), ("postmortemUrl",)),
        (IncidentChanges(root_cause="\0"), ("rootCause",)),
        (IncidentChanges(resolved_at=NOON), ("resolvedAt",)),
        (IncidentChanges(started_at=NOON + minutes(5)), ("startedAt",)),
        (IncidentChanges(started_at=NOON.replace(tzinfo=None)), ("startedAt",)),
        (IncidentChanges(commander_id=uuid4()), ("commanderId",)),
    ],
)
async def test_a_change_that_cannot_be_is_refused_with_the_field_and_nothing_is_written(studio, changes, path):
    id = await studio.open_incident()
    error = await refusal(studio, ValidationFailed, incidents.update, id, changes)
    assert error.path == path


async def test_a_clock_that_runs_ahead_never_ends_in_a_database_error(studio):
    id = await studio.open_incident("checkout", started_at=NOON + timedelta(seconds=59))
    studio.wait(seconds=1)
    await studio.do(incidents.acknowledge, id)
    await studio.do(incidents.resolve, id)
    incident = await studio.incident(id)
    assert incident["started_at"] == incident["acknowledged_at"] == incident["resolved_at"]


TIMES = ("started_at", "detected_at", "acknowledged_at", "mitigated_at", "resolved_at")
instants = st.none() | st.integers(-5, 12).map(lambda count: NOON + minutes(count))
moves = st.one_of(
    st.sampled_from([incidents.acknowledge, incidents.mitigate, incidents.resolve]).map(lambda move: (move, {})),
    st.just((incidents.reopen, {"reason": "again"})),
    st.builds(
        lambda status, times: (incidents.update, {"wanted": IncidentChanges(**status, **times)}),
        st.fixed_dictionaries({}, optional={"status": st.sampled_from(IncidentStatus)}),
        st.dictionaries(st.sampled_from(TIMES), instants, max_size=2),
    ),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(sequence=st.lists(st.tuples(st.integers(0, 3), moves), min_size=1, max_size=8))
async def test_whatever_people_do_postgres_never_has_to_refuse_it(studio, sequence):
    studio.now = NOON
    id = await studio.open_incident("checkout", started_at=NOON - minutes(3))
    for waited, (action, options) in sequence:
        studio.wait(minutes=waited)
        with suppress(ValidationFailed, InvalidTransition):
            await studio.do(action, id, **options)
