"""Alerts as other systems post them, and what is kept of them."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alerts import AlertStatus
from domain.errors import ValidationFailed
from domain.fingerprints import fingerprint
from domain.incidents import Severity
from domain.webhooks import alertmanager, cloud_events, generic, pagerduty
from domain.webhooks.bodies import json_body
from domain.webhooks.incoming import Delivery, IncomingAlert, Rejected

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LABELS = {"alertname": "HighErrorRatio", "service": "checkout", "severity": "critical"}


def notification(*alerts: Any, **more: Any) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "groupKey": '{}:{service="checkout"}', "alerts": list(alerts), **more}


def firing(**more: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": LABELS,
        "annotations": {"summary": "28 % fail"},
        "startsAt": "2026-03-01T11:55:12.315123456Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
        "fingerprint": "e0df2298e77d85e2",
        **more,
    }


def only(delivery: Delivery) -> IncomingAlert:
    [alert] = delivery.alerts
    assert isinstance(alert, IncomingAlert), alert
    return alert


def test_the_fingerprint_is_the_one_that_alertmanager_gives():
    assert fingerprint(LABELS) == "e0df2298e77d85e2"
    assert fingerprint({}) == "cbf29ce484222325"


def test_an_alertmanager_notification_is_read_whole():
    delivery = alertmanager.read(notification(firing(), truncatedAlerts=3), received_at=NOON)
    assert delivery.left_out == 3
    assert only(delivery) == IncomingAlert(
        name="HighErrorRatio",
        fingerprint="e0df2298e77d85e2",
        status=AlertStatus.FIRING,
        severity=Severity.CRITICAL,
        labels=LABELS,
        annotations={"summary": "28 % fail"},
        starts_at=datetime(2026, 3, 1, 11, 55, 12, 315123, tzinfo=UTC),
        ends_at=None,
        generator_url="http://prometheus:9090/graph?g0.expr=up",
        group_key='{}:{service="checkout"}',
    )


def test_a_missing_fingerprint_is_computed_from_the_labels():
    alert = only(alertmanager.read(notification(firing(fingerprint=None)), received_at=NOON))
    assert alert.fingerprint == "e0df2298e77d85e2"


def test_what_ends_in_the_past_is_resolved_whatever_its_status_says():
    alert = only(alertmanager.read(notification(firing(endsAt="2026-03-01T11:59:00Z")), received_at=NOON))
    assert (alert.status, alert.ends_at) == (AlertStatus.RESOLVED, datetime(2026, 3, 1, 11, 59, tzinfo=UTC))


def test_grafana_says_where_its_panel_is():
    alert = only(
        alertmanager.read(
            notification(firing(panelURL="http://grafana/d/1?viewPanel=2", valueString="[ var='A' value=3 ]")),
            received_at=NOON,
        )
    )
    assert alert.annotations["panel_url"] == "http://grafana/d/1?viewPanel=2"
    assert alert.annotations["value"] == "[ var='A' value=3 ]"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("no object", "It is no JSON object"),
        ({"status": "firing", "labels": {}}, "It has no labels, so nothing tells it from other alerts"),
        ({"status": "firing", "labels": ["a"]}, "its labels are no object of names and texts"),
        ({"status": "maybe", "labels": LABELS}, "Its status is neither firing nor resolved"),
        ({"status": "firing", "labels": LABELS, "annotations": 3}, "its annotations are no object of names and texts"),
    ],
)
def test_one_bad_alert_is_rejected_with_the_reason_and_its_neighbours_are_kept(broken: Any, reason: str):
    delivery = alertmanager.read(notification(firing(), broken, firing()), received_at=NOON)
    first, rejected, last = delivery.alerts
    assert isinstance(first, IncomingAlert)
    assert first == last
    assert rejected == Rejected(reason)


@pytest.mark.parametrize("body", [[], "alerts", None, {}, {"alerts": None}, {"alerts": {"0": {}}}])
def test_what_is_no_notification_is_refused(body: Any):
    with pytest.raises(ValidationFailed):
        alertmanager.read(body, received_at=NOON)


def test_what_cannot_be_stored_is_replaced_or_shortened_and_said():
    body = json_body(
        b'{"alerts": [{"status": "firing", "labels": {"alertname": "half \\ud83d", "nul": "a\\u0000b"},'
        b' "annotations": {"description": "' + b"x" * 70_000 + b'"}, "startsAt": "2099-01-01T00:00:00Z",'
        b' "generatorURL": "javascript:alert(1)"}]}'
    )
    alert = only(alertmanager.read(body, received_at=NOON))
    assert alert.labels == {"alertname": "half \ufffd", "nul": "a\ufffdb"}
    assert len(alert.annotations["description"]) == 20_000
    assert alert.starts_at == NOON
    assert alert.generator_url is None
    assert len(alert.remarks) == 5


@pytest.mark.parametrize("told", ["", None, [], {"a": 1}])
def test_a_fingerprint_that_is_none_is_computed(told: Any):
    alert = only(alertmanager.read(notification(firing(fingerprint=told)), received_at=NOON))
    assert alert.fingerprint == fingerprint(alert.labels)


def test_the_data_of_a_cloud_event_may_come_in_base64():
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.alert"}
    headers = {"content-type": "application/cloudevents+json"}
    data = b64encode(orjson.dumps({"name": "DiskFull", "severity": "critical"})).decode()
    alert = only(cloud_events.read(orjson.dumps({**event, "data_base64": data}), headers, received_at=NOON))
    assert (alert.name, alert.severity) == ("DiskFull", "CRITICAL")
    with pytest.raises(ValidationFailed, match="base64"):
        cloud_events.read(orjson.dumps({**event, "data_base64": "%"}), headers, received_at=NOON)


def test_a_thousand_labels_are_too_many():
    alert = only(
        alertmanager.read(notification(firing(labels={f"l{n:04}": "x" for n in range(1000)})), received_at=NOON)
    )
    assert len(alert.labels) == 64
    assert alert.remarks == ("it has 1000 labels, of which 64 were kept",)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The body is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"", "The body is not JSON: Expecting value at line 1, column 1"),
        (b'{"a": NaN}', "The body is not JSON: it holds NaN"),
        (b"[" * 200_000, "The body is nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "The body holds a number with too many digits"),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_the_place(body: bytes, message: str):
    with pytest.raises(ValidationFailed) as refused:
        json_body(body)
    assert refused.value.message == message


def trigger(**more: Any) -> dict[str, Any]:
    payload = {"summary": "Disk is full", "source": "db-1", "severity": "error", "component": "postgres"}
    return {"routing_key": "key", "event_action": "trigger", "dedup_key": "disk/db-1", "payload": payload, **more}


def test_a_pagerduty_trigger_is_an_alert_and_its_resolve_ends_the_incident():
    event = pagerduty.read(trigger(client_url="https://m.example/1"), received_at=NOON, new_key="new")
    assert (event.routing_key, event.dedup_key) == ("key", "disk/db-1")
    assert (event.alert.name, event.alert.status, event.alert.severity) == (
        "Disk is full",
        AlertStatus.FIRING,
        Severity.HIGH,
    )
    assert event.alert.labels == {"component": "postgres", "source": "db-1"}
    over = {"routing_key": "key", "event_action": "resolve", "dedup_key": "disk/db-1"}
    resolved = pagerduty.read(over, received_at=NOON, new_key="new").alert
    assert (resolved.fingerprint, resolved.status, resolved.ends_incident) == (
        event.alert.fingerprint,
        AlertStatus.RESOLVED,
        True,
    )


def test_a_pagerduty_event_names_its_service_in_the_details():
    payload = {**trigger()["payload"], "custom_details": {"service": "orders", "free": "1%"}}
    alert = pagerduty.read(trigger(payload=payload), received_at=NOON, new_key="new").alert
    assert alert.labels == {"component": "postgres", "service": "orders", "source": "db-1"}
    assert alert.annotations == {"summary": "Disk is full", "service": "orders", "free": "1%"}


def test_an_end_says_what_it_says_nothing_about():
    over = {"routing_key": "key", "event_action": "resolve", "dedup_key": "disk/db-1"}
    everything = {"name", "severity", "labels", "annotations", "generator_url"}
    assert pagerduty.read(over, received_at=NOON, new_key="new").alert.unsaid == everything
    assert pagerduty.read(trigger(client_url="http://m"), received_at=NOON, new_key="new").alert.unsaid == set()
    ended = only(generic.read({"fingerprint": "q-1", "status": "resolved"}, received_at=NOON))
    assert ended.unsaid == everything | {"group_key"}


def test_a_pagerduty_acknowledgement_says_that_somebody_works_on_it():
    acknowledged = {"routing_key": "key", "event_action": "acknowledge", "dedup_key": "disk/db-1"}
    alert = pagerduty.read(acknowledged, received_at=NOON, new_key="new").alert
    assert (alert.is_acknowledged, alert.status) == (True, AlertStatus.FIRING)


def test_a_trigger_without_a_key_gets_a_new_one():
    assert pagerduty.read(trigger(dedup_key=None), received_at=NOON, new_key="new").dedup_key == "new"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_action": "explode"}, "'event_action' must be one of trigger, acknowledge, resolve"),
        ({"routing_key": ""}, "'routing_key' is missing or blank"),
        ({"payload": None}, "'payload' is required to trigger"),
        ({"payload": {"summary": "s", "source": "x"}}, "'payload.severity' is missing or blank"),
        ({"dedup_key": "k" * 256}, "'dedup_key' must be text of up to 255 characters"),
        ({"event_action": "resolve", "dedup_key": ""}, "'dedup_key' is required to resolve"),
    ],
)
def test_what_is_no_pagerduty_event_is_refused_in_its_words(change: dict[str, Any], message: str):
    with pytest.raises(ValidationFailed) as refused:
        pagerduty.read(trigger(**change), received_at=NOON, new_key="new")
    assert refused.value.message == message


def test_a_generic_alert_is_read_by_the_documented_mapping():
    alert = only(
        generic.read(
            {"title": "Queue is long", "state": "OK", "priority": "P1", "tags": ["team:core", "x"], "service": "orders",
             "description": "12 000 wait", "time": 1772366100, "id": "q-1", "link": "https://m.example/q"},
            received_at=NOON,
        )
    )  # fmt: skip
    assert (alert.name, alert.status, alert.severity) == ("Queue is long", AlertStatus.RESOLVED, Severity.CRITICAL)
    assert alert.labels == {"service": "orders", "team": "core"}
    assert alert.annotations == {"description": "12 000 wait"}
    assert (alert.starts_at, alert.fingerprint) == (NOON - timedelta(minutes=5), "q-1")


def test_generic_alerts_come_alone_in_lists_and_in_objects():
    alert = {"name": "a"}
    assert [
        len(generic.read(body, received_at=NOON).alerts) for body in (alert, [alert] * 2, {"alerts": [alert] * 3})
    ] == [
        1,
        2,
        3,
    ]


def test_a_cloud_event_tells_the_same_alert_structured_and_binary():
    data = {"severity": "high", "description": "replica lag"}
    attributes = {
        "specversion": "1.0",
        "id": "1",
        "source": "/db",
        "type": "com.example.lag.firing",
        "subject": "orders-db",
        "time": "2026-03-01T11:00:00Z",
    }
    structured = cloud_events.read(
        _json({**attributes, "data": data}),
        {"content-type": "application/cloudevents+json; charset=utf-8"},
        received_at=NOON,
    )
    binary = cloud_events.read(
        _json(data),
        {"content-type": "application/json", **{f"ce-{name}": value for name, value in attributes.items()}},
        received_at=NOON,
    )
    assert structured == binary
    alert = only(structured)
    assert (alert.name, alert.labels, alert.severity) == ("com.example.lag", {"service": "orders-db"}, Severity.HIGH)
    over = cloud_events.read(
        _json({**attributes, "id": "2", "type": "com.example.lag.resolved"}),
        {"content-type": "application/cloudevents+json"},
        received_at=NOON,
    )
    assert (only(over).fingerprint, only(over).status) == (alert.fingerprint, AlertStatus.RESOLVED)


@pytest.mark.parametrize(
    ("header", "said"),
    [("caf%C3%A9%20shop", "café shop"), ('"the \\"db\\""', 'the "db"'), ("100%25", "100%"), ("%x", "%x")],
)
def test_headers_of_a_binary_cloud_event_hold_any_text(header: str, said: str):
    attributes = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/db", "ce-type": "lag", "ce-subject": header}
    alert = only(cloud_events.read(b"", attributes, received_at=NOON))
    assert alert.labels == {"service": said}


def test_a_batch_of_cloud_events_keeps_its_good_ones():
    good = {"specversion": "1.0", "id": "1", "source": "/db", "type": "lag"}
    delivery = cloud_events.read(
        _json([good, {**good, "specversion": "0.3"}]),
        {"content-type": "application/cloudevents-batch+json"},
        received_at=NOON,
    )
    assert isinstance(delivery.alerts[0], IncomingAlert)
    assert delivery.alerts[1] == Rejected("CloudEvents 0.3 are not known here, only 1.0")


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["labels", "annotations", "status", "startsAt", "endsAt", "fingerprint", "generatorURL", "name", "severity", "tags"]
)


@given(st.dictionaries(keys, anything | st.sampled_from(["firing", "resolved"]), max_size=6))
def test_whatever_an_alert_holds_it_is_kept_or_rejected(alert: dict[str, Any]):
    for delivery in (
        alertmanager.read({"alerts": [alert]}, received_at=NOON),
        generic.read([alert], received_at=NOON),
    ):
        [read] = delivery.alerts
        if isinstance(read, IncomingAlert):
            stored = [read.name, read.fingerprint, *read.labels, *read.labels.values(), *read.annotations.values()]
            assert not any("\0" in text for text in stored)
            assert all(text.encode() is not None for text in stored)
            assert read.name
            assert read.fingerprint
            assert read.starts_at is None or read.starts_at <= NOON + timedelta(minutes=5)
        else:
            assert read.reason


AWKWARD: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(
        ["\0", "\ud800", "resolved", "9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00-23:59", "http://["]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None), max_size=4), inner),
    max_leaves=5,
)
SHAPES: dict[str, Any] = {
    "alertmanager": firing(endsAt="0001-01-01T00:00:00Z", generatorURL="http://p", fingerprint="a", dashboardURL="d"),
    "pagerduty": trigger(client_url="u", links=[{"href": "h"}]),
    "cloudevents": {"specversion": "1.0", "id": "1", "source": "/x", "type": "t.resolved", "subject": "s", "data": {}},
    "generic": {
        "name": "n",
        "status": "ok",
        "tags": ["a:b"],
        "starts_at": 1,
        "fingerprint": "f",
        "url": "u",
        "group": 1,
    },
}


@given(shape=st.sampled_from(sorted(SHAPES)), data=st.data())
def test_whatever_is_posted_is_refused_or_can_be_stored(shape: str, data: st.DataObject):
    told = dict(SHAPES[shape])
    for name in data.draw(st.lists(st.sampled_from(sorted(told)), min_size=1, max_size=3)):
        told[name] = data.draw(AWKWARD)
    body = json.dumps({"alerts": [told]} if shape in ("alertmanager", "generic") else told).encode()
    try:
        delivery = read(shape, body)
    except ValidationFailed:
        return
    for alert in delivery.alerts:
        if isinstance(alert, IncomingAlert):
            texts = [alert.name, alert.fingerprint, alert.group_key, alert.generator_url, *alert.remarks]
            texts += [*alert.labels, *alert.labels.values(), *alert.annotations, *alert.annotations.values()]
            assert alert.fingerprint
            assert not any("\0" in it for it in texts if it)
            "".join(it for it in texts if it).encode()


def read(shape: str, body: bytes) -> Delivery:
    match shape:
        case "alertmanager":
            return alertmanager.read(json_body(body), received_at=NOON)
        case "pagerduty":
            event = pagerduty.read(json_body(body), received_at=NOON, new_key="new")
            event.dedup_key.encode()
            return Delivery([event.alert])
        case "cloudevents":
            return cloud_events.read(body, {"content-type": "application/cloudevents+json"}, received_at=NOON)
    return generic.read(json_body(body), received_at=NOON)
