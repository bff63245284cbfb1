"""Webhooks over HTTP: what a sender is told, and what there is afterwards."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from tests.servers import ServerProcess
from tests.waiting import until

ALERTMANAGER = "/api/webhooks/alertmanager"
FAR = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "2926-01-01T00:00:00Z", "soon", 12]
JSON = {"content-type": "application/json"}


@pytest.fixture
def service() -> str:
    """The name of a service that no other test has."""
    return f"service-{uuid4().hex[:12]}"


def firing(service: str, **more: Any) -> dict[str, Any]:
    labels = {"alertname": "HighErrorRatio", "service": service, "severity": "critical"}
    return {"status": "firing", "labels": labels, "startsAt": "2026-03-01T12:00:00Z", **more}


async def query(http: httpx.AsyncClient, document: str, **variables: Any) -> Any:
    answer = await http.post("/graphql", json={"query": document, "variables": variables})
    body = answer.json()
    assert "errors" not in body, body
    return body["data"]


async def alerts_of(http: httpx.AsyncClient, service: str) -> list[dict[str, Any]]:
    document = """query($services: [String!]) { alerts(filter: { services: $services }, first: 200) { nodes {
        name status severity labels annotations incident { number title status } } } }"""
    found: list[dict[str, Any]] = (await query(http, document, services=[service]))["alerts"]["nodes"]
    return found


async def test_an_alert_of_alertmanager_becomes_an_incident(http: httpx.AsyncClient, service: str):
    answer = await http.post(ALERTMANAGER, json={"version": "4", "groupKey": "{}:{}", "alerts": [firing(service)]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["alerts"] == 1
    assert answer.json()["rejected"] == []
    await until(lambda: alerts_of(http, service))
    [alert] = await alerts_of(http, service)
    assert (alert["incident"]["title"], alert["incident"]["status"]) == (f"HighErrorRatio on {service}", "OPEN")


async def test_a_bad_alert_costs_nothing_but_itself(http: httpx.AsyncClient, service: str):
    bad = [{"status": "firing"}, 7, None, {"labels": {"a": "b"}, "status": "perhaps"}]
    answer = await http.post(ALERTMANAGER, json={"alerts": [*bad, firing(service)]})
    assert answer.status_code == 200
    assert [it["position"] for it in answer.json()["rejected"]] == [0, 1, 2, 3]
    await until(lambda: alerts_of(http, service))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b'{"alerts": [', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"7", "must be a JSON object"),
        (b'{"alerts": {}}', "no list of alerts"),
        (b'{"alerts": [{"status": "firing"}]}', "labels"),
        (b'{"alerts": [{"labels": {"a": NaN}}]}', "NaN"),
        (b'{"alerts": ' + b"9" * 5_000 + b"}", "too many digits"),
    ],
)
async def test_what_is_no_notification_is_refused_with_the_reason(http: httpx.AsyncClient, body: bytes, complaint: str):
    for path in (ALERTMANAGER, "/api/webhooks/grafana"):
        answer = await http.post(path, content=body, headers=JSON)
        assert answer.status_code == 400, answer.text
        if body[:1] != b"[":
            assert complaint in answer.text


async def test_what_can_be_kept_of_awful_alerts_is_kept(http: httpx.AsyncClient, service: str):
    awful = [
        firing(service, labels={"alertname": "Nul\0", "service": service, "\0": "\0"}),
        firing(service, annotations={"text": "x" * 1_000_000}),
        *(firing(service, startsAt=time, labels={"alertname": f"At {time}", "service": service}) for time in FAR),
        *(firing(service, endsAt=time, labels={"alertname": f"To {time}", "service": service}) for time in FAR),
        firing(service, labels={"alertname": "x" * 100_000, "service": service}),
        firing(service, labels={"alertname": "many", "service": service, **{f"l{n}": "v" for n in range(500)}}),
        firing(service, labels={"alertname": "nested", "service": service, "a": {"b": ["c"]}}),
    ]
    body = orjson.dumps({"alerts": awful, "truncatedAlerts": 2**40}).replace(b'"nested"', b'"half \\ud83d a pair"')
    answer = await http.post(ALERTMANAGER, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["rejected"]) == (200, [])
    receipt = answer.json()["receipt"]
    await until(lambda: is_processed(http, receipt))
    assert len(await alerts_of(http, service)) == len(awful)


async def is_processed(http: httpx.AsyncClient, receipt: str) -> bool:
    document = "query($receipt: ID!) { alertDelivery(receipt: $receipt) { processedAt } }"
    return (await query(http, document, receipt=receipt))["alertDelivery"]["processedAt"] is not None


async def test_ten_thousand_alerts_in_one_post_are_one_incident(http: httpx.AsyncClient, service: str):
    many = [
        {"status": "firing", "labels": {"alertname": "Pod", "service": service, "pod": str(n)}} for n in range(10_000)
    ]
    answer = await http.post(ALERTMANAGER, json={"alerts": many}, timeout=30)
    assert (answer.status_code, answer.json()["alerts"]) == (200, 10_000)
    await until(lambda: is_processed(http, answer.json()["receipt"]), timeout_seconds=60)
    document = """query($receipt: ID!, $service: String!) {
        alertDelivery(receipt: $receipt) { alertCount counts { disposition count } }
        serviceByName(name: $service) { incidents { nodes { number } } } }"""
    found = await query(http, document, receipt=answer.json()["receipt"], service=service)
    assert found["alertDelivery"] == {"alertCount": 10_000, "counts": [{"disposition": "CREATED", "count": 10_000}]}
    assert len(found["serviceByName"]["incidents"]["nodes"]) == 1


async def test_the_event_recorder_of_alertmanager_says_why_nobody_was_told(http: httpx.AsyncClient, service: str):
    number = int(uuid4().hex[:16], 16)
    told = firing(service, fingerprint=f"{number:016x}")
    await http.post(ALERTMANAGER, json={"alerts": [told]})
    await until(lambda: alerts_of(http, service))
    muted = {"fingerprint": str(number), "labels": {"labels": [{"key": "service", "value": service}]}}
    silence = {"id": "3f1c", "comment": "Moving the database", "startsAt": "2026-03-01T11:00:00Z", "createdBy": "Ada"}
    silenced = {"silence": {**silence, "endsAt": "2026-03-01T13:00:00Z"}, "mutedAlert": muted}
    inhibited = {"inhibitRules": [{}], "inhibitingFingerprints": ["255"], "mutedAlert": muted}
    unknown = {"silence": silence, "mutedAlert": {"fingerprint": "18446744073709551615"}}
    started = {"alertmanagerStartupEvent": {"version": "0.34.0"}}
    events = [
        {"@timestamp": "2026-03-01T12:00:00Z", "instance": "am-0", "data": data}
        for data in (
            {"silenceMutedAlert": silenced},
            {"inhibitionMutedAlert": inhibited},
            {"silenceMutedAlert": unknown},
            started,
        )
    ]
    for body in (events[0], events, events):  # One by one or in batches, and again where an answer was lost.
        answer = await http.post(f"{ALERTMANAGER}/events", json=body)
        assert (answer.status_code, answer.json()["alerts"]) == (200, 1), answer.text
    document = """query($services: [String!]) { alerts(filter: { services: $services }, first: 1) { nodes {
        suppressions { kind by startsAt endsAt reason } } } }"""
    [alert] = (await query(http, document, services=[service]))["alerts"]["nodes"]
    assert sorted(alert["suppressions"], key=lambda it: it["kind"]) == [
        {
            "kind": "INHIBITION",
            "by": "00000000000000ff",
            "startsAt": "2026-03-01T12:00:00+00:00",
            "endsAt": None,
            "reason": "Alertmanager's inhibition by another alert",
        },
        {
            "kind": "SILENCE",
            "by": "3f1c",
            "startsAt": "2026-03-01T11:00:00+00:00",
            "endsAt": "2026-03-01T13:00:00+00:00",
            "reason": "Moving the database",
        },
    ]
    for body in ({}, [1], {"data": []}):
        refused = await http.post(f"{ALERTMANAGER}/events", json=body)
        assert (refused.status_code, "data" in refused.text) == (400, True)
    odd = {"data": {"silenceMutedAlert": {"silence": {"id": "\0", "startsAt": 5}, "mutedAlert": {"fingerprint": "-1"}}}}
    assert (await http.post(f"{ALERTMANAGER}/events", json=odd)).status_code == 200


async def test_ten_megabytes_are_too_much(http: httpx.AsyncClient, service: str):
    huge = firing(service, annotations={"text": "x" * 10_000_000})
    answer = await http.post(ALERTMANAGER, json={"alerts": [huge]})
    assert answer.status_code == 413


async def test_parallel_deliveries_of_one_alert_are_one_alert_and_one_incident(http: httpx.AsyncClient, service: str):
    body = {"alerts": [firing(service)]}
    answers = await asyncio.gather(*(http.post(ALERTMANAGER, json=body, timeout=30) for _ in range(50)))
    # Overloaded, nothing of it is stored, and Alertmanager tries again.
    assert {answer.status_code for answer in answers} <= {200, 503}
    for receipt in (answer.json()["receipt"] for answer in answers if answer.status_code == 200):
        await until(lambda receipt=receipt: is_processed(http, receipt))
    assert len(await alerts_of(http, service)) == 1
    document = "query($name: String!) { serviceByName(name: $name) { incidents { nodes { number } } } }"
    found = await query(http, document, name=service)
    assert len(found["serviceByName"]["incidents"]["nodes"]) == 1


async def test_whatever_can_page_pagerduty_can_page_us(http: httpx.AsyncClient, service: str):
    event = {"routing_key": "any", "event_action": "trigger", "dedup_key": service}
    payload = {"summary": "Disk full", "source": "db-1", "severity": "critical", "component": service}
    answer = await http.post("/v2/enqueue", json={**event, "payload": payload})
    assert (answer.status_code, answer.json()["status"], answer.json()["dedup_key"]) == (202, "success", service)

    async def incident() -> Any:
        found = await query(
            http, "{ incidents(first: 200) { nodes { title status labels alerts { nodes { fingerprint } } } } }"
        )
        nodes = found["incidents"]["nodes"]
        return next((it for it in nodes if {"fingerprint": service} in it["alerts"]["nodes"]), None)

    async def is_status(status: str) -> bool:
        found = await incident()
        return found is not None and found["status"] == status

    await until(lambda: is_status("OPEN"))
    for action, status in (("acknowledge", "INVESTIGATING"), ("resolve", "RESOLVED")):
        answer = await http.post("/v2/enqueue", json={**event, "event_action": action})
        assert answer.status_code == 202
        await until(lambda status=status: is_status(status))
    bad = await http.post("/v2/enqueue", json={"routing_key": "any", "event_action": "explode"})
    assert (bad.status_code, bad.json()["status"]) == (400, "invalid event")


async def test_a_cloud_event_and_a_script_are_understood(http: httpx.AsyncClient, service: str):
    event = {"specversion": "1.0", "id": "1", "source": "/ci", "type": "com.example.job.firing", "subject": service}
    structured = {"content-type": "application/cloudevents+json"}
    answer = await http.post("/api/webhooks/cloudevents", content=orjson.dumps(event), headers=structured)
    assert answer.status_code == 200, answer.text
    said = {"name": "Backup failed", "service": service, "severity": "high"}
    assert (await http.post("/api/webhooks/generic", json=said)).status_code == 200

    async def both() -> bool:
        return {it["name"] for it in await alerts_of(http, service)} == {"com.example.job", "Backup failed"}

    await until(both)


@pytest.fixture
async def guarded(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that wants tokens and takes small bodies."""
    settings = {"WEBHOOK_TOKENS": "eu=s3cret,us=t0ken", "MAX_WEBHOOK_BYTES": "2048", "DATABASE_URL": database_url}
    async with ServerProcess(**settings) as running, httpx.AsyncClient(base_url=running.url, timeout=30) as client:
        yield client


async def test_a_token_says_which_source_it_is(guarded: httpx.AsyncClient):
    body = {"alerts": [firing("checkout")]}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic !"}, {"authorization": "Digest x"}):
        assert (await guarded.post(ALERTMANAGER, json=body, headers=headers)).status_code == 401
    assert (
        await guarded.post("/v2/enqueue", json={"routing_key": "no", "event_action": "resolve", "dedup_key": "x"})
    ).status_code == 401
    for headers in ({"authorization": "Bearer s3cret"}, {"authorization": "Basic dTp0MGtlbg=="}):
        assert (await guarded.post(ALERTMANAGER, json=body, headers=headers)).status_code == 200
    assert (await guarded.post(f"{ALERTMANAGER}?token=s3cret", json=body)).status_code == 200
    large = {"alerts": [firing("checkout", annotations={"a": "x" * 3000})]}
    answer = await guarded.post(ALERTMANAGER, json=large, headers={"authorization": "Bearer s3cret"})
    assert answer.status_code == 413

    async def sources() -> list[str]:
        found = await query(guarded, "{ alerts { nodes { source incident { number } } } }")
        return sorted(it["source"] for it in found["alerts"]["nodes"])

    await until(lambda: has(sources, ["eu", "us"]))


async def has(read: Any, wanted: Any) -> bool:
    return bool(await read() == wanted)
