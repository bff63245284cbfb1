"""Silences from an incident, kept by a real Alertmanager."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from db.audit import audit_log
from domain import silences
from domain.access import Actor, Role
from domain.time import Deadline
from telemetry_clients.alertmanager import Alertmanager, Matcher
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import Api
from tests.telemetry_clients.alertmanager_server import running_alertmanager

SILENCE = "silence { id state comment createdBy matchers { name value isRegex isEqual } }"


@pytest.fixture(autouse=True)
async def alertmanager(api: Api, tmp_path: Path) -> AsyncIterator[Alertmanager]:
    """One for each test, because incidents of all tests have the same numbers."""
    async with running_alertmanager(tmp_path) as server:
        api.now = datetime.now(UTC)
        api.telemetry = Telemetry(alertmanager=Instances("Alertmanager", {DEFAULT: server.client}))
        yield server.client


def wanted(incident: str, **more: object) -> dict[str, object]:
    return {"incidentId": incident, "durationSeconds": 3600, "comment": "We are on it", **more}


async def silences_of(api: Api, incident: str) -> list[dict[str, object]]:
    document = "query($id: ID!) { incident(id: $id) { silences { id state comment } } }"
    answer = await api(document, id=incident)
    assert "errors" not in answer
    found: list[dict[str, object]] = answer["data"]["incident"]["silences"]
    return found


async def timeline(api: Api, incident: str) -> list[str]:
    answer = await api("query($id: ID!) { incident(id: $id) { timeline { nodes { title } } } }", id=incident)
    return [entry["title"] for entry in answer["data"]["incident"]["timeline"]["nodes"]]


async def test_a_silence_is_kept_by_alertmanager_shown_at_the_incident_and_written_on_its_timeline(api, incident):
    silence = await api.changed("createSilence", SILENCE, input=wanted(incident))
    number = (await api("query($id: ID!) { incident(id: $id) { number } }", id=incident))["data"]["incident"]["number"]
    assert silence == {
        "id": silence["id"],
        "state": "ACTIVE",
        "comment": f"INC-{number}: We are on it",
        "createdBy": "deploy-pipeline",
        "matchers": [{"name": "service", "value": "checkout", "isRegex": False, "isEqual": True}],
    }
    assert [found["id"] for found in await silences_of(api, incident)] == [silence["id"]]
    assert 'service="checkout"' in (await timeline(api, incident))[-1]
    async with api.database.reading() as connection:
        actions = select(audit_log.c.action, audit_log.c.subject_type).where(audit_log.c.subject_id == silence["id"])
        assert [tuple(row) for row in await connection.execute(actions)] == [("silence.create", "silence")]

    ended = await api.changed("expireSilence", "silence { id state }", incidentId=incident, id=silence["id"])
    assert ended == {"id": silence["id"], "state": "EXPIRED"}
    assert await timeline(api, incident) == [
        *(await timeline(api, incident))[:-1],
        'No longer silenced: service="checkout"',
    ]
    told = await api("query($id: ID!) { incident(id: $id) { timeline { nodes { metadata } } } }", id=incident)
    [created, expired] = [entry["metadata"] for entry in told["data"]["incident"]["timeline"]["nodes"][-2:]]
    assert created.pop("endsAt")
    assert created == expired == {"silenceId": silence["id"], "matchers": ['service="checkout"']}
    before = await api.written()
    await api.changed("expireSilence", "silence { id }", incidentId=incident, id=silence["id"])
    assert await api.written() == before, "what has ended stays as it is"


async def test_a_request_that_comes_again_finds_the_silence_that_the_first_one_made(api, incident):
    asked = wanted(incident, idempotencyKey="again")
    first = await api.changed("createSilence", "silence { id }", input=asked)
    written = await api.written()
    assert await api.changed("createSilence", "silence { id }", input=asked) == first
    assert await api.written() == written
    assert len(await silences_of(api, incident)) == 1
    error = await api.refused("createSilence", "silence { id }", input={**asked, "comment": "Another"})
    assert error["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert len(await silences_of(api, incident)) == 1


async def test_a_silence_that_was_never_written_down_is_shown_and_written_down_by_the_repetition(
    api, incident, alertmanager
):
    """As after a crash between the two: Alertmanager has agreed, and the database knows nothing."""
    mark = silences.mark_of(api.actor.name, "crashed")
    orphan = await alertmanager.create_silence(
        [Matcher("service", "checkout")],
        starts_at=api.now,
        ends_at=api.now + timedelta(hours=1),
        created_by=api.actor.name,
        comment=silences.comment_for(1, "We are on it", mark),
        deadline=Deadline.after(10),
    )
    assert [found["id"] for found in await silences_of(api, incident)] == [orphan]
    asked = wanted(incident, idempotencyKey="crashed")
    assert await api.changed("createSilence", "silence { id }", input=asked) == {"id": orphan}
    assert [found["id"] for found in await silences_of(api, incident)] == [orphan]
    assert "Silenced until" in (await timeline(api, incident))[-1]


async def test_matchers_can_be_given(api, incident):
    given = [
        {"name": "alertname", "value": "High.*", "isRegex": True},
        {"name": "env", "value": "dev", "isEqual": False},
    ]
    silence = await api.changed("createSilence", SILENCE, input=wanted(incident, matchers=given))
    assert silence["matchers"] == [
        {"name": "alertname", "value": "High.*", "isRegex": True, "isEqual": True},
        {"name": "env", "value": "dev", "isRegex": False, "isEqual": False},
    ]


@pytest.mark.parametrize(
    ("more", "words", "path"),
    [
        ({"durationSeconds": 0}, "from 60 seconds to 30 days", ["input", "durationSeconds"]),
        ({"durationSeconds": 2_592_001}, "from 60 seconds to 30 days", ["input", "durationSeconds"]),
        ({"comment": " "}, "Comment", ["input", "comment"]),
        ({"instance": "mars"}, "Configured are: default", ["input", "instance"]),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, "error parsing regexp", ["input", "matchers"]),
        ({"matchers": []}, "neither alerts nor services", ["input", "matchers"]),
        ({"matchers": [{"name": "x", "value": ""}]}, "would silence everything", ["input", "matchers"]),
        ({"matchers": [{"name": 'a"b', "value": "x"}]}, "not the name of a label", ["input", "matchers", "0", "name"]),
    ],
)
async def test_what_makes_no_sense_is_refused_before_alertmanager_is_asked(api, incident, more, words, path):
    error = await api.refused("createSilence", "silence { id }", input=wanted(incident, **more))
    assert words in error["message"]
    assert error["path"] == path
    assert await silences_of(api, incident) == []


async def test_what_is_not_there_cannot_be_silenced_or_expired(api, incident):
    error = await api.refused("createSilence", "silence { id }", input=wanted("0" * 8))
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "incidentId"])
    nobody = "00000000-0000-0000-0000-000000000000"
    error = await api.refused("expireSilence", "silence { id }", incidentId=incident, id=nobody)
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["id"])


async def test_who_may_only_look_cannot_silence(api, incident):
    api.actor = Actor(id=None, name="visitor", role=Role.VIEWER)
    error = await api.refused("createSilence", "silence { id }", input=wanted(incident))
    assert error["code"] == "FORBIDDEN"
    assert await silences_of(api, incident) == []


async def test_where_alertmanager_is_gone_nothing_is_written_and_the_error_says_so(api, incident):
    async with Transport(Endpoint(backend="Alertmanager", url="http://127.0.0.1:9")) as transport:
        api.telemetry = Telemetry(alertmanager=Instances("Alertmanager", {DEFAULT: Alertmanager(transport)}))
        before = await api.written()
        document = "mutation($input: CreateSilenceInput!) { createSilence(input: $input) { silence { id } } }"
        [error] = (await api(document, input=wanted(incident)))["errors"]
        assert error["extensions"]["code"] == "TELEMETRY_UNAVAILABLE"
        assert await api.written() == before
