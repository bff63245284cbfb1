"""What happens when a pipeline tells of its deployments."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from actions import deployments, incidents
from actions.deployments import NewDeployment
from db.deployments import deployments as deployments_table
from domain.errors import NotFound, ValidationFailed
from domain.feed import EventType
from domain.services import DeploymentOutcome
from domain.timeline import TimelineEventType
from tests.actions.conftest import NOON, Studio


async def deployed(studio: Studio, incident_id: UUID) -> list[str]:
    entries = await studio.timeline(incident_id)
    return [entry["title"] for entry in entries if entry["type"] is TimelineEventType.DEPLOYMENT]


async def test_a_deployment_shows_on_the_open_incidents_of_its_service_and_on_no_other(studio):
    hurt, also_hurt = await studio.open_incident("checkout"), await studio.open_incident("payments", "checkout")
    over, elsewhere = await studio.open_incident("checkout"), await studio.open_incident("payments")
    await studio.do(incidents.resolve, over)
    checkout = await studio.service("checkout")
    id = await studio.do(
        deployments.record,
        NewDeployment(
            service="Checkout",
            version="1.2.3",
            commit="abc123",
            url="https://ci.example.org/7",
            description="Faster carts",
        ),
    )
    deployment = await studio.row(deployments_table, id)
    assert (deployment["service_id"], deployment["outcome"]) == (checkout["id"], DeploymentOutcome.SUCCEEDED)
    assert (deployment["environment"], deployment["started_at"], deployment["finished_at"]) == (
        "production",
        NOON,
        NOON,
    )
    for incident_id in (hurt, also_hurt):
        assert await deployed(studio, incident_id) == ["checkout 1.2.3 was deployed to production"]
    for incident_id in (over, elsewhere):
        assert await deployed(studio, incident_id) == []
    [event] = await studio.events(type=EventType.DEPLOYMENT_RECORDED)
    assert (event["subject_id"], event["service_ids"], event["incident_id"]) == (id, [checkout["id"]], None)
    added = [event for event in await studio.events(type=EventType.TIMELINE_EVENT_ADDED)][-2:]
    assert {event["incident_id"] for event in added} == {hurt, also_hurt}


async def test_a_deployment_of_long_before_an_incident_is_recorded_and_not_shown_on_it(studio):
    incident_id = await studio.open_incident("checkout")
    for hours in (25, 23):
        when = NOON - timedelta(hours=hours)
        new = NewDeployment(service="checkout", version=f"{hours}h", started_at=when, finished_at=when)
        await studio.do(deployments.record, new)
    assert await deployed(studio, incident_id) == ["checkout 23h was deployed to production"]
    assert len(await studio.rows(deployments_table)) == 2


async def test_a_deployment_of_a_service_that_nobody_knew_adds_it_to_the_catalog(studio):
    await studio.do(deployments.record, NewDeployment(service="cart", version="1"))
    assert (await studio.service("cart"))["discovered_at"] == NOON


async def test_a_deployment_in_progress_is_finished_and_may_be_rolled_back_later(studio):
    incident_id = await studio.open_incident("checkout")
    id = await studio.do(
        deployments.record, NewDeployment(service="checkout", version="2", outcome=DeploymentOutcome.IN_PROGRESS)
    )
    studio.wait(minutes=5)
    await studio.do(deployments.finish, id, "succeeded")
    before = await studio.written()
    studio.wait(minutes=5)
    await studio.do(deployments.finish, id, "SUCCEEDED")
    assert await studio.written() == before
    await studio.do(deployments.finish, id, DeploymentOutcome.ROLLED_BACK, finished_at=NOON + timedelta(minutes=8))
    deployment = await studio.row(deployments_table, id)
    assert deployment["outcome"] is DeploymentOutcome.ROLLED_BACK
    assert deployment["finished_at"] == NOON + timedelta(minutes=8)
    assert await deployed(studio, incident_id) == [
        "checkout 2 is being deployed to production",
        "checkout 2 was deployed to production",
        "checkout 2 was rolled back in production",
    ]


@pytest.mark.parametrize(
    ("new", "path"),
    [
        (NewDeployment(service="", version="1"), ("service",)),
        (NewDeployment(service=uuid4(), version="1"), ("service",)),
        (NewDeployment(service="x", version=None), ("version",)),
        (NewDeployment(service="x", version="1", environment=" "), ("environment",)),
        (NewDeployment(service="x", version="1", commit="y" * 201), ("commit",)),
        (NewDeployment(service="x", version="1", url="x"), ("url",)),
        (NewDeployment(service="x", version="1", outcome="LOST"), ("outcome",)),
        (NewDeployment(service="x", version="1", started_at=NOON + timedelta(minutes=2)), ("startedAt",)),
        (NewDeployment(service="x", version="1", started_at=NOON, finished_at=NOON - timedelta(1)), ("finishedAt",)),
        (NewDeployment(service="x", version="1", outcome="IN_PROGRESS", finished_at=NOON), ("finishedAt",)),
    ],
)
async def test_a_deployment_that_cannot_be_is_refused_with_the_field_and_nothing_is_written(studio, new, path):
    before = await studio.written()
    with pytest.raises(ValidationFailed) as refusal:
        await studio.do(deployments.record, new)
    assert refusal.value.path == path
    assert await studio.written() == before


async def test_finishing_needs_a_deployment_and_an_end(studio):
    id = await studio.do(deployments.record, NewDeployment(service="x", version="1"))
    with pytest.raises(ValidationFailed, match="Outcome must say how the deployment ended"):
        await studio.do(deployments.finish, id, "IN_PROGRESS")
    with pytest.raises(ValidationFailed, match="Finished at lies before the deployment started"):
        await studio.do(deployments.finish, id, "FAILED", finished_at=NOON - timedelta(minutes=1))
    with pytest.raises(NotFound):
        await studio.do(deployments.finish, uuid4(), "FAILED")
