"""A retry gets the first answer."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from actions import deployments, hypotheses, incidents, services, steps, tasks, timeline
from actions.deployments import NewDeployment
from actions.hypotheses import NewHypothesis
from actions.incidents import AffectedService, NewIncident
from actions.services import NewService
from actions.steps import NewStep
from actions.tasks import NewTask
from db.incidents import incidents as incidents_table
from domain.access import Actor, Role
from domain.errors import DomainError, IdempotencyKeyReused, ValidationFailed

NEW = NewIncident(
    title="Checkout is failing",
    severity="HIGH",
    services=[AffectedService(service="checkout")],
    labels={"b": "1", "a": "2"},
)


async def test_twenty_copies_of_one_request_open_one_incident_and_get_the_same_answer(studio):
    answers = await asyncio.gather(*(studio.do(incidents.create, NEW, idempotency_key="retry-1") for _ in range(20)))
    assert len(set(answers)) == 1
    assert [incident["id"] for incident in await studio.rows(incidents_table)] == [answers[0]]
    assert len(await studio.timeline(answers[0])) == 1
    assert Counter(event["type"] for event in await studio.events())["INCIDENT_CREATED"] == 1


async def test_the_same_key_with_another_input_is_refused_and_writes_nothing(studio):
    await studio.do(incidents.create, NEW, idempotency_key="k")
    before = await studio.written()
    for other in (
        replace(NEW, title="Something else"),
        replace(NEW, services=[]),
        replace(NEW, started_at=studio.now - timedelta(minutes=1)),
    ):
        with pytest.raises(IdempotencyKeyReused) as refusal:
            await studio.do(incidents.create, other, idempotency_key="k")
        assert refusal.value.path == ("idempotencyKey",)
    assert await studio.written() == before


async def test_the_order_of_labels_is_not_another_input(studio):
    first = await studio.do(incidents.create, NEW, idempotency_key="k")
    assert await studio.do(incidents.create, replace(NEW, labels={"a": "2", "b": "1"}), idempotency_key="k") == first


async def test_keys_belong_to_their_actor_and_their_operation(studio, ada):
    first = await studio.do(incidents.create, NEW, idempotency_key="k")
    assert await studio.do(incidents.create, NEW, idempotency_key="k", actor=ada) != first
    other_token = Actor(id=None, name="another token", role=Role.RESPONDER)
    assert await studio.do(incidents.create, NEW, idempotency_key="k", actor=other_token) != first
    assert await studio.do(services.create, NewService(name="k"), idempotency_key="k")


async def test_a_failed_request_leaves_its_key_free(studio):
    with pytest.raises(ValidationFailed):
        await studio.do(incidents.create, replace(NEW, commander_id=UUID(int=7)), idempotency_key="k")
    assert await studio.do(incidents.create, NEW, idempotency_key="k")


async def test_a_key_is_forgotten_after_a_day(studio):
    first = await studio.do(incidents.create, NEW, idempotency_key="k")
    studio.wait(hours=23, minutes=59)
    assert await studio.do(incidents.create, NEW, idempotency_key="k") == first
    studio.wait(minutes=1)
    assert await studio.do(incidents.create, replace(NEW, title="Another"), idempotency_key="k") != first


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "a\0b", "a\ud800"])
async def test_a_key_that_is_none_is_refused(studio, key):
    with pytest.raises(ValidationFailed) as refusal:
        await studio.do(incidents.create, NEW, idempotency_key=key)
    assert refusal.value.path == ("idempotencyKey",)


async def test_every_creation_answers_its_retry(studio):
    incident_id = await studio.open_incident("checkout")
    creations = [
        (services.create, NewService(name="payments", depends_on=["ledger"], selectors={"tempo": "payments"})),
        (tasks.create, NewTask(incident_id=incident_id, title="Call the bank", due_at=studio.now)),
        (hypotheses.create, NewHypothesis(incident_id=incident_id, title="A full disk", confidence=0.7)),
        (steps.create, NewStep(incident_id=incident_id, title="Look at the disk", findings={"free": [0, None]})),
        (deployments.record, NewDeployment(service="checkout", version="1.2.3", started_at=studio.now)),
    ]
    for action, new in creations:
        first = await studio.do(action, new, idempotency_key="k")
        before = await studio.written()
        assert await studio.do(action, new, idempotency_key="k") == first
        assert await studio.written() == before
    first = await studio.do(timeline.add_note, incident_id, "a note", idempotency_key="k")
    assert await studio.do(timeline.add_note, incident_id, "a note", idempotency_key="k") == first
    with pytest.raises(DomainError, match="This idempotency key came before with another input"):
        await studio.do(timeline.add_note, incident_id, "another note", idempotency_key="k")
