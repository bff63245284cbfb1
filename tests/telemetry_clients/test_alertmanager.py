"""The Alertmanager client, against recorded exchanges and Debian's real Alertmanager."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.time import Deadline
from telemetry_clients.alertmanager import Alertmanager, Matcher
from telemetry_clients.errors import TelemetryBadQuery, TelemetryBadResponse
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.alertmanager_server import AlertmanagerServer
from tests.telemetry_clients.eventually import eventually
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server
from tests.telemetry_clients.recorded import Recorded, recording

STARTS = datetime(2026, 11, 23, 7, 33, 31, tzinfo=UTC)
CHECKOUT = Matcher("service", "checkout")


def soon() -> Deadline:
    return Deadline.after(10)


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(b"")) as server:
        yield server


@pytest.fixture
async def client(server) -> AsyncIterator[Alertmanager]:
    async with Transport(Endpoint(backend="Alertmanager", url=server.url)) as transport:
        yield Alertmanager(transport)


def replay(server: LocalServer, *names: str) -> Recorded:
    recorded = Recorded([recording("alertmanager", name) for name in names])
    server.behaviour = recorded
    return recorded


async def test_the_status_says_the_version(client, server):
    replay(server, "status")
    status = await client.status(deadline=soon())
    assert (status.version, status.cluster_status) == ("0.25.0", "disabled")
    assert status.started_at == datetime(2026, 11, 23, 7, 31, 24, 914000, UTC)


async def test_alerts_have_their_labels_and_who_is_told(client, server):
    replay(server, "alerts")
    first, second = await client.alerts(deadline=soon())
    assert (first.labels["service"], first.state, first.receivers) == ("checkout", "active", ("none",))
    assert second.labels["service"] == "frontend"


async def test_groups_are_the_alerts_that_somebody_is_told_of_together(client, server):
    replay(server, "alert_groups")
    groups = await client.alert_groups(deadline=soon())
    assert [(group.labels, group.receiver, len(group.alerts)) for group in groups] == [
        ({"service": "checkout"}, "none", 1),
        ({"service": "frontend"}, "none", 1),
    ]


async def test_a_silence_is_created_read_and_expired_as_recorded(client, server):
    recorded = replay(server, "silence_create", "silences", "silence_expire", "silence_unknown")
    id = await client.create_silence(
        [CHECKOUT],
        starts_at=STARTS,
        ends_at=STARTS + timedelta(hours=1),
        created_by="ada",
        comment="INC-42",
        deadline=soon(),
    )
    assert id == "b70caaf6-47cd-4960-9a1f-bae1ac8d201d"
    [silence] = await client.silences(deadline=soon())
    assert (silence.id, silence.state, silence.matchers, silence.created_by) == (id, "active", (CHECKOUT,), "ada")
    assert await client.expire_silence(id, deadline=soon())
    assert await client.silence("00000000-0000-0000-0000-000000000000", deadline=soon()) is None
    assert recorded.unknown == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("silence_create_bad", "matchers in body should have at least 1 items"),
        ("alerts_bad_filter", "bad matcher format: no matcher"),
    ],
)
async def test_refusals_keep_their_words(client, server, name, words):
    server.behaviour = answering(recording("alertmanager", name).answer())
    with pytest.raises(TelemetryBadQuery, match=words):
        await client.silences(deadline=soon())


@pytest.mark.parametrize("body", [b"null", b"{}", b"[1]", b'[{"id":"x"}]'])
async def test_another_shape_is_a_bad_response(client, server, body):
    server.behaviour = answering(http_answer(body))
    for ask in (client.alerts, client.alert_groups, client.silences):
        with pytest.raises(TelemetryBadResponse):
            await ask(deadline=soon())
    with pytest.raises(TelemetryBadResponse):
        await client.status(deadline=soon())


NASTY = ['a"} or {x="', "back\\slash", "ends\\", "new\nline", "naïve 服务", "a=b,c!=d", "{}", "'"]


@pytest.mark.parametrize("value", NASTY)
async def test_a_real_alertmanager_silences_exactly_what_the_matchers_say(
    alertmanager_server: AlertmanagerServer, value: str
):
    client = alertmanager_server.client
    await alertmanager_server.fire({"alertname": "Down", "service": value}, {"alertname": "Down", "service": "other"})
    now = datetime.now(UTC)
    id = await client.create_silence(
        [Matcher("service", value)],
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        created_by="ada",
        comment="INC-7",
        deadline=soon(),
    )

    async def silenced() -> bool:
        [alert] = await client.alerts([Matcher("service", value)], deadline=soon())
        return alert.state == "suppressed" and alert.silenced_by == (id,)

    await eventually("the alert is silenced", silenced)
    [other] = await client.alerts([Matcher("service", "other")], deadline=soon())
    assert other.silenced_by == ()
    assert await client.alerts([Matcher("service", value)], silenced=False, deadline=soon()) == ()

    silence = await client.silence(id, deadline=soon())
    assert silence is not None
    assert (silence.state, silence.matchers) == ("active", (Matcher("service", value),))
    assert await client.expire_silence(id, deadline=soon())
    assert await client.expire_silence(id, deadline=soon()), "one that has ended stays so"
    expired = await client.silence(id, deadline=soon())
    assert expired is not None
    assert expired.state == "expired"


async def test_expiring_what_a_real_alertmanager_does_not_have_says_so(alertmanager_server: AlertmanagerServer):
    assert not await alertmanager_server.client.expire_silence("0" * 8 + "-0000-0000-0000-" + "0" * 12, deadline=soon())
