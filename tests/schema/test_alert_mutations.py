"""What people do about alerts through the API: where they belong, when nobody is told, what became of a delivery."""

from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest

from actions.alerts.audits import audit, forget_deliveries
from actions.alerts.deliveries import Accepted, Received, accept, count_attempt, process
from actions.alerts.upkeep import settle
from db.identifiers import new_id
from domain.alerts import WebhookKind
from domain.grouping import GroupingRules
from tests.schema.conftest import NOON, Api

RULES = GroupingRules()
PLACE = "alert { isPinned incident { id title } service { name } }"
WINDOW = (
    "maintenanceWindow { id title isActive startsAt endsAt service { name } matchers { name value isRegex isEqual } }"
)
ALERTS = """{ alerts(first: 10) { nodes { id name status incident { id } suppressions { kind by reason endsAt }
  history { nodes { isOver incident { id } } } } } }"""
DELIVERY = """query($receipt: ID!) { alertDelivery(receipt: $receipt) { source kind processedAt alertCount
  counts { disposition count } dispositions { nodes { position disposition reason alert { name } } } } }"""


async def told(api: Api, *names: str, service: str = "checkout", status: str = "firing", minute: int = 0) -> str:
    """Deliver alerts and process them; returns the receipt."""
    starts_at = (NOON - timedelta(hours=1) + timedelta(minutes=minute)).isoformat()
    alerts = [
        {"status": status, "labels": {"alertname": name, "service": service}, "startsAt": starts_at} for name in names
    ]
    body = orjson.dumps({"alerts": alerts})
    received = Received(id=new_id(), source="eu", kind=WebhookKind.ALERTMANAGER, body=body, headers={}, at=api.now)
    await accept(api.database, [Accepted(received, received.read())])
    while await api.database.transact(process, now=api.now) is not None:
        pass
    return str(received.id)


async def upkeep(api: Api) -> None:
    await api.database.transact(partial(settle, rules=RULES), now=api.now)


async def alerts(api: Api) -> dict[str, Any]:
    return {alert["name"]: alert for alert in (await api(ALERTS))["data"]["alerts"]["nodes"]}


async def test_an_alert_that_is_moved_stays_where_it_was_put(api: Api, incident: str):
    await api.changed("resolveIncident", "incident { id }", id=incident)
    await told(api, "Slow")
    other = await api.changed("createIncident", "incident { id }", input={"title": "Network", "severity": "LOW"})
    alert = (await alerts(api))["Slow"]
    moved = await api.changed("moveAlert", PLACE, alertId=alert["id"], incidentId=other["id"])
    assert moved == {
        "isPinned": True,
        "incident": {"id": other["id"], "title": "Network"},
        "service": {"name": "checkout"},
    }
    await told(api, "Slow", minute=10)
    assert (await alerts(api))["Slow"]["incident"]["id"] == other["id"]
    found = await api(
        "query($id: ID!) { incident(id: $id) { severity services { name } timeline { nodes { title } } } }",
        id=other["id"],
    )
    assert found["data"]["incident"]["services"] == [{"name": "checkout"}]
    assert found["data"]["incident"]["severity"] == "MEDIUM"
    titles = [it["title"] for it in found["data"]["incident"]["timeline"]["nodes"]]
    assert "Slow was moved here by deploy-pipeline" in titles


async def test_an_alert_that_is_detached_stands_alone_for_ever(api: Api):
    await told(api, "Slow", "Down")
    both = await alerts(api)
    shared = both["Slow"]["incident"]["id"]
    assert both["Down"]["incident"]["id"] == shared
    await api.changed("detachAlert", PLACE, alertId=both["Slow"]["id"])
    await upkeep(api)
    alone = (await alerts(api))["Slow"]["incident"]["id"]
    assert alone != shared
    await told(api, "Slow", minute=20)
    await told(api, "Late", minute=21)
    after = await alerts(api)
    assert (after["Slow"]["incident"]["id"], after["Late"]["incident"]["id"]) == (alone, shared)
    refused = await api.refused("detachAlert", PLACE, alertId=str(new_id()))
    assert refused["code"] == "NOT_FOUND"


async def test_nothing_is_moved_into_what_is_resolved(api: Api, incident: str):
    await api.changed("resolveIncident", "incident { id }", id=incident)
    await told(api, "Slow")
    alert = (await alerts(api))["Slow"]["id"]
    refused = await api.refused("moveAlert", PLACE, alertId=alert, incidentId=incident)
    assert (refused["code"], refused["message"]) == ("CONFLICT", "INC-1 is resolved: reopen it first")


async def test_an_old_incident_keeps_its_alerts_when_they_fire_again_elsewhere(api: Api):
    await told(api, "Slow")
    first = (await alerts(api))["Slow"]["incident"]["id"]
    await told(api, "Slow", status="resolved")
    await api.changed("resolveIncident", "incident { id }", id=first)
    await told(api, "Slow", minute=30)
    again = (await alerts(api))["Slow"]
    assert again["incident"]["id"] != first
    assert [it["incident"]["id"] for it in again["history"]["nodes"]] == [again["incident"]["id"], first]
    document = "query($id: ID!) { incident(id: $id) { alerts { nodes { name } } } }"
    for id in (first, again["incident"]["id"]):
        assert (await api(document, id=id))["data"]["incident"]["alerts"]["nodes"] == [{"name": "Slow"}]


async def test_in_a_maintenance_window_nobody_is_told_and_the_alert_says_why(api: Api):
    times = {"endsAt": (NOON + timedelta(hours=1)).isoformat()}
    matchers = [{"name": "alertname", "value": "Sl.*", "isRegex": True}]
    window = await api.changed(
        "createMaintenanceWindow",
        WINDOW,
        input={"title": "Upgrade", "service": "checkout", "matchers": matchers, **times},
    )
    assert (window["isActive"], window["service"], window["matchers"]) == (
        True,
        {"name": "checkout"},
        [{"name": "alertname", "value": "Sl.*", "isRegex": True, "isEqual": True}],
    )
    receipt = await told(api, "Slow", "Down")
    found = (await api(DELIVERY, receipt=receipt))["data"]["alertDelivery"]
    assert found["counts"] == [{"disposition": "CREATED", "count": 1}, {"disposition": "SUPPRESSED", "count": 1}]
    assert found["dispositions"]["nodes"][0]["disposition"] == "SUPPRESSED"
    assert "Upgrade" in found["dispositions"]["nodes"][0]["reason"]
    slow = (await alerts(api))["Slow"]
    assert slow["incident"] is None
    [why] = slow["suppressions"]
    assert (why["kind"], why["by"], why["reason"]) == ("MAINTENANCE", window["id"], "Upgrade")
    await api.changed(
        "updateMaintenanceWindow",
        WINDOW,
        input={"id": window["id"], "endsAt": NOON.isoformat(), "startsAt": (NOON - timedelta(hours=1)).isoformat()},
    )
    await upkeep(api)
    slow = (await alerts(api))["Slow"]
    assert slow["incident"] is not None
    assert [why["endsAt"] for why in slow["suppressions"]] == [NOON.isoformat()]
    listed = await api("{ maintenanceWindows { nodes { title isActive } } }")
    assert listed["data"]["maintenanceWindows"]["nodes"] == [{"title": "Upgrade", "isActive": False}]
    await api.change("deleteMaintenanceWindow", "deletedId", id=window["id"])
    assert (await api("{ maintenanceWindows { nodes { title } } }"))["data"]["maintenanceWindows"]["nodes"] == []


@pytest.mark.parametrize("change", ["ended", "deleted", "about others"])
async def test_an_alert_says_until_when_a_window_really_kept_it_quiet(api: Api, change: str):
    later = (NOON + timedelta(hours=1)).isoformat()
    known = {"title": "Upgrade", "service": "checkout", "matchers": [{"name": "alertname", "value": "Slow"}]}
    window = await api.changed("createMaintenanceWindow", WINDOW, input={**known, "endsAt": later})
    await told(api, "Slow")
    assert [why["endsAt"] for why in (await alerts(api))["Slow"]["suppressions"]] == [later]

    api.wait(minutes=10)
    now = api.now.isoformat()
    if change == "deleted":
        await api.change("deleteMaintenanceWindow", "deletedId", id=window["id"])
    else:
        others = {"matchers": [{"name": "alertname", "value": "Down"}]}
        changes = {"endsAt": now} if change == "ended" else others
        await api.changed("updateMaintenanceWindow", WINDOW, input={"id": window["id"], **changes})
    await upkeep(api)
    slow = (await alerts(api))["Slow"]
    assert (slow["incident"] is not None, [why["endsAt"] for why in slow["suppressions"]]) == (True, [now])


async def test_a_window_that_would_silence_everything_or_ends_before_it_starts_is_refused(api: Api):
    later = (NOON + timedelta(hours=1)).isoformat()
    for wrong, path in (
        ({"title": "x", "endsAt": later}, ["input", "matchers"]),
        ({"title": "x", "endsAt": NOON.isoformat(), "service": "a"}, ["input", "endsAt"]),
        ({"title": "x", "endsAt": "2029-01-01T00:00:00Z", "service": "a"}, ["input", "endsAt"]),
        (
            {"title": "x", "endsAt": later, "matchers": [{"name": "a", "value": "(", "isRegex": True}]},
            ["input", "matchers", "0", "value"],
        ),
    ):
        refused = await api.refused("createMaintenanceWindow", WINDOW, input=wrong)
        assert (refused["code"], refused["path"]) == ("BAD_USER_INPUT", path)


async def test_the_audit_adds_up_and_old_deliveries_are_forgotten(api: Api):
    await told(api, "Slow", "Slow", "Down")
    await told(api, "Down", status="resolved")
    await api.database.transact(audit, now=api.now)
    document = "{ alertAudit { received created updated duplicate unaccounted waiting ungrouped } }"
    assert (await api(document))["data"]["alertAudit"] == {
        "received": 4,
        "created": 2,
        "updated": 1,
        "duplicate": 1,
        "unaccounted": 0,
        "waiting": 0,
        "ungrouped": 0,
    }
    forget = partial(forget_deliveries, received_before=NOON + timedelta(seconds=1), most=10)
    assert await api.database.transact(forget, now=api.now) == 2
    assert (await api("{ alertDeliveries { nodes { id } } }"))["data"]["alertDeliveries"]["nodes"] == []
    assert len(await alerts(api)) == 2


async def test_a_delivery_that_fails_for_our_own_reasons_is_put_aside_and_says_so(api: Api):
    body = b'{"alerts": [{"labels": {"alertname": "x"}, "status": "firing"}]}'
    received = Received(id=new_id(), source="eu", kind=WebhookKind.ALERTMANAGER, body=body, headers={}, at=api.now)
    await accept(api.database, [Accepted(received, received.read())])
    for _ in range(3):
        await api.database.transact(count_attempt, now=api.now)
    [told] = (await api(DELIVERY, receipt=str(received.id)))["data"]["alertDelivery"]["dispositions"]["nodes"]
    assert told["disposition"] == "REJECTED"
    assert str(received.id) in told["reason"]
