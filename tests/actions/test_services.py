"""What happens when people keep the catalog of services."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from actions import incidents, people, services
from actions.incidents import AffectedService, NewIncident
from actions.services import NewService, ServiceChanges
from db.services import service_dependencies
from db.services import services as services_table
from db.slos import slos
from domain.errors import Conflict, DomainError, NotFound, ValidationFailed
from domain.feed import EventType
from domain.services import DependencySource, ServiceStatus
from tests.actions.conftest import NOON, Studio


async def refusal(studio: Studio, kind: type[DomainError], action, *arguments, **options) -> DomainError:
    """The error that an action raises, having written nothing."""
    before = await studio.written()
    with pytest.raises(kind) as raised:
        await studio.do(action, *arguments, **options)
    assert await studio.written() == before
    return raised.value


async def dependencies_of(studio: Studio, id: UUID) -> dict[str, DependencySource]:
    names = {row["id"]: row["name"] for row in await studio.rows(services_table)}
    rows = await studio.rows(service_dependencies, service_id=id)
    return {names[row["depends_on_id"]]: row["source"] for row in rows}


async def test_a_declared_service_is_stored_with_everything_that_was_said(studio):
    team_id = await studio.do(people.create_team, "Payments")
    id = await studio.do(
        services.create,
        NewService(
            name=" checkout ",
            display_name="Checkout",
            description="Takes the money",
            tier=1,
            team_id=team_id,
            repository_url="https://example.org/checkout",
            labels={"language": "go"},
            selectors={"prometheus": {"job": 'a"b\\'}, "tempo": "checkout"},
            depends_on=["payments", "ledger"],
        ),
    )
    service = await studio.service("checkout")
    assert service["id"] == id
    assert (service["display_name"], service["tier"], service["team_id"]) == ("Checkout", 1, team_id)
    assert service["selectors"] == {"prometheus": {"job": 'a"b\\'}, "tempo": "checkout"}
    assert (service["status"], service["discovered_at"], service["version"]) == (ServiceStatus.UNKNOWN, None, 1)
    declared = DependencySource.DECLARED
    assert await dependencies_of(studio, id) == {"payments": declared, "ledger": declared}
    assert (await studio.service("payments"))["discovered_at"] == NOON
    [event] = await studio.events(subject_id=id)
    assert (event["type"], event["service_ids"], event["incident_id"]) == (EventType.SERVICE_CHANGED, [id], None)
    [audit] = await studio.audit(subject_id=id)
    assert audit["after"]["dependencies"] == ["ledger", "payments"]


@pytest.mark.parametrize(
    ("new", "path"),
    [
        (NewService(name=None), ("name",)),
        (NewService(name="x", tier=6), ("tier",)),
        (NewService(name="x", team_id=uuid4()), ("teamId",)),
        (NewService(name="x", runbook_url="ftp://x"), ("runbookUrl",)),
        (NewService(name="x", selectors={"prometheus": {"a-b": "c"}}), ("selectors", "prometheus")),
        (NewService(name="x", depends_on=["y", uuid4()]), ("dependsOn", "1")),
        (NewService(name="x", depends_on=["y", "X"]), ("dependsOn", "1")),
        (NewService(name="x", labels={"a": None}), ("labels", "a")),
    ],
)
async def test_a_service_that_cannot_be_is_refused_with_the_field_and_nothing_is_written(studio, new, path):
    assert (await refusal(studio, ValidationFailed, services.create, new)).path == path


async def test_a_name_is_given_once_in_any_case(studio):
    await studio.do(services.create, NewService(name="Checkout"))
    other = await studio.do(services.create, NewService(name="payments"))
    for action, arguments in (
        (services.create, [NewService(name="CHECKOUT")]),
        (services.update, [other, ServiceChanges(name="checkOUT")]),
    ):
        error = await refusal(studio, Conflict, action, *arguments)
        assert (error.message, error.path) == ('There is a service named "Checkout" already', ("name",))
    await studio.do(services.update, other, ServiceChanges(name="Payments"))
    assert (await studio.row(services_table, other))["display_name"] == "Payments"


async def test_of_twenty_who_declare_or_rename_to_one_name_at_once_one_does(studio):
    others = [await studio.do(services.create, NewService(name=f"service-{number}")) for number in range(10)]
    outcomes = await asyncio.gather(
        *(studio.do(services.create, NewService(name="checkout")) for _ in range(10)),
        *(studio.do(services.update, other, ServiceChanges(name="Checkout")) for other in others),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, UUID) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19


async def test_names_heard_of_at_the_same_time_become_one_service_each(studio):
    names = [f"service-{number}" for number in range(6)]

    async def open_incident(position: int) -> None:
        turned = names[position % 6 :] + names[: position % 6]
        spelled = [name.upper() if position % 2 else name for name in turned]
        hurt = [AffectedService(service=name) for name in spelled]
        await studio.do(incidents.create, NewIncident(title=f"{position}", severity="LOW", services=hurt))

    await asyncio.gather(*map(open_incident, range(20)))
    found = await studio.rows(services_table)
    assert sorted(row["name"].lower() for row in found) == names
    assert all(row["discovered_at"] == NOON and row["status"] is ServiceStatus.DEGRADED for row in found)
    discoveries = [row for row in await studio.audit(action="service.discover")]
    assert len(discoveries) == 6


async def test_whoever_edits_a_discovered_service_declares_it(studio):
    await studio.open_incident("checkout")
    id = (await studio.service("checkout"))["id"]
    await studio.do(services.update, id, ServiceChanges(description=""))
    assert (await studio.service("checkout"))["discovered_at"] == NOON
    await studio.do(services.update, id, ServiceChanges(description="Takes the money"))
    assert (await studio.service("checkout"))["discovered_at"] is None


async def test_a_change_says_what_it_changed_and_counts_the_version_up(studio):
    id = await studio.do(services.create, NewService(name="checkout", tier=1, depends_on=["ledger"]))
    changes = ServiceChanges(name="cart", tier=None, depends_on=["payments"])
    await studio.do(services.update, id, changes, expected_version=1)
    service = await studio.service("cart")
    assert (service["version"], service["tier"], service["display_name"]) == (2, None, "cart")
    event = (await studio.events(subject_id=id))[-1]
    assert {change["field"]: (change["from"], change["to"]) for change in event["payload"]["changes"]} == {
        "name": ("checkout", "cart"),
        "tier": (1, None),
        "displayName": ("checkout", "cart"),
        "dependencies": (["ledger"], ["payments"]),
    }
    error = await refusal(studio, Conflict, services.update, id, ServiceChanges(tier=2), expected_version=1)
    assert (error.current_version, error.path) == (2, ("expectedVersion",))


async def test_a_change_that_changes_nothing_writes_nothing(studio):
    id = await studio.do(services.create, NewService(name="checkout", tier=1, depends_on=["ledger"]))
    before = await studio.written(), await studio.service("checkout")
    studio.wait(minutes=1)
    same = ServiceChanges(name="checkout", tier=1, display_name=None, labels={}, depends_on=["LEDGER", "ledger"])
    await studio.do(services.update, id, same)
    assert (await studio.written(), await studio.service("checkout")) == before


async def test_a_display_name_of_its_own_survives_a_new_name(studio):
    id = await studio.do(services.create, NewService(name="checkout", display_name="The Checkout"))
    await studio.do(services.update, id, ServiceChanges(name="cart"))
    assert (await studio.service("cart"))["display_name"] == "The Checkout"


async def test_declaring_dependencies_keeps_what_traces_have_seen(studio):
    id = await studio.do(services.create, NewService(name="checkout", depends_on=["ledger", "payments"]))
    seen = {"service_id": id, "created_at": NOON, "last_seen_at": NOON, "source": DependencySource.TRACES}
    fraud = await studio.do(services.create, NewService(name="fraud"))
    async with studio.database.writing(NOON) as tx:
        await tx.execute(insert(service_dependencies).values(depends_on_id=fraud, **seen))
    studio.wait(minutes=1)

    await studio.do(services.update, id, ServiceChanges(depends_on=["payments", "fraud"]))
    declared, traced = DependencySource.DECLARED, DependencySource.TRACES
    assert await dependencies_of(studio, id) == {"payments": declared, "fraud": declared}
    assert (await studio.service("checkout"))["version"] == 2
    assert (await studio.service("checkout"))["updated_at"] == NOON + timedelta(minutes=1)

    await studio.do(services.update, id, ServiceChanges(depends_on=[]))
    assert await dependencies_of(studio, id) == {"fraud": traced}


async def test_services_that_declare_each_other_at_once_do_not_wait_for_ever(studio):
    ids = [await studio.do(services.create, NewService(name=f"service-{number}")) for number in range(6)]
    await asyncio.gather(*(studio.do(services.update, id, ServiceChanges(depends_on=[*set(ids) - {id}])) for id in ids))
    assert len(await studio.rows(service_dependencies)) == 30


async def test_a_service_that_nothing_needs_can_be_deleted(studio):
    other = await studio.do(services.create, NewService(name="cart", depends_on=["checkout"]))
    id = (await studio.service("checkout"))["id"]
    assert await studio.do(services.delete, id) == id
    assert await studio.rows(services_table, id=id) == []
    assert await dependencies_of(studio, other) == {}
    event = (await studio.events(subject_id=id))[-1]
    assert event["payload"] == {"changes": [{"field": "name", "from": "checkout", "to": None}]}
    audit = (await studio.audit(subject_id=id))[-1]
    assert (audit["action"], audit["before"]["name"], audit["after"]) == ("service.delete", "checkout", None)
    assert (await refusal(studio, NotFound, services.delete, id)).path == ("id",)


async def test_a_service_that_is_part_of_an_incident_cannot_be_deleted(studio):
    await studio.do(incidents.resolve, await studio.open_incident("checkout"))
    id = (await studio.service("checkout"))["id"]
    error = await refusal(studio, Conflict, services.delete, id)
    assert error.message == (
        'Service "checkout" belongs to 1 incident, whose history needs it: set its impact on them to none first'
    )


async def test_a_service_that_has_an_slo_cannot_be_deleted(studio):
    id = await studio.do(services.create, NewService(name="checkout"))
    async with studio.database.writing(NOON) as tx:
        await tx.insert(
            slos, name="availability", service_id=id, objective=0.99, window_days=30, indicator_kind="RATIO"
        )
    error = await refusal(studio, Conflict, services.delete, id)
    assert error.message == 'Service "checkout" belongs to 1 SLO, which would measure nothing: delete them first'


async def test_deleting_a_service_and_opening_incidents_on_it_at_once_never_breaks(studio):
    for round in range(5):
        id = await studio.do(services.create, NewService(name=f"service-{round}"))
        outcomes = await asyncio.gather(
            *(studio.open_incident(reference) for reference in (f"service-{round}", str(id)) for _ in range(4)),
            studio.do(services.delete, id),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, UUID | Conflict | ValidationFailed) for outcome in outcomes)
        assert len(await studio.rows(services_table, name=f"service-{round}")) == 1
