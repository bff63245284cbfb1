"""PagerDuty's Events API, version 2: whatever can page PagerDuty can tell us."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.alerts import AlertStatus
from domain.errors import ValidationFailed
from domain.fingerprints import fitting
from domain.webhooks.incoming import IncomingAlert
from domain.webhooks.kept import Keeper, severity_of

_ACTIONS: Final = ("trigger", "acknowledge", "resolve")
_DEDUP_KEY_CHARACTERS: Final = 255
_LABELS: Final = ("source", "component", "group", "class")
_DETAILS: Final = ("service", "service_name", "environment")
"""Of the details, which are the sender's own, those that say what an alert is about."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: whose integration it is for, and the key that the answer names."""

    routing_key: str
    dedup_key: str
    alert: IncomingAlert


def read(body: Any, *, received_at: datetime, new_key: str) -> Event:
    """The event of a request (its JSON). A trigger without a `dedup_key` gets `new_key`.

    Raises ValidationFailed, in the words of the API, for what is no event.
    """
    if not isinstance(body, Mapping):
        raise ValidationFailed("Event object is invalid: it is no JSON object")
    action = body.get("event_action")
    if action not in _ACTIONS:
        raise ValidationFailed("'event_action' must be one of trigger, acknowledge, resolve", ("event_action",))
    routing_key = body.get("routing_key")
    if not isinstance(routing_key, str) or not routing_key:
        raise ValidationFailed("'routing_key' is missing or blank", ("routing_key",))
    key = body.get("dedup_key")
    if key is None or key == "":
        if action != "trigger":
            raise ValidationFailed(f"'dedup_key' is required to {action}", ("dedup_key",))
        key = new_key
    if not isinstance(key, str) or len(key) > _DEDUP_KEY_CHARACTERS:
        raise ValidationFailed(f"'dedup_key' must be text of up to {_DEDUP_KEY_CHARACTERS} characters", ("dedup_key",))
    payload = body.get("payload")
    if action == "trigger":
        payload = _triggering(payload)
    keep = Keeper(received_at)
    key = keep.text(key, "dedup_key", _DEDUP_KEY_CHARACTERS)
    return Event(routing_key, key, _alert(body, payload if isinstance(payload, Mapping) else {}, action, key, keep))


def _triggering(payload: Any) -> Mapping[str, Any]:
    if not isinstance(payload, Mapping):
        raise ValidationFailed("'payload' is required to trigger", ("payload",))
    for name in ("summary", "source", "severity"):
        if not isinstance(payload.get(name), str) or not payload[name].strip():
            raise ValidationFailed(f"'payload.{name}' is missing or blank", ("payload", name))
    return payload


def _alert(body: Mapping[str, Any], payload: Mapping[str, Any], action: str, key: str, keep: Keeper) -> IncomingAlert:
    details = payload.get("custom_details")
    links = {
        f"link_{number}": link["href"] for number, link in enumerate(_items(body.get("links")), 1) if "href" in link
    }
    labels = keep.labels({**_labels(details), **{name: payload[name] for name in _LABELS if payload.get(name)}})
    time = keep.start(payload.get("timestamp"))
    is_over = action == "resolve"
    said_of = {
        "name": payload.get("summary"),
        "severity": payload.get("severity"),
        "labels": labels,
        "annotations": payload.get("summary") or details or links,
        "generator_url": body.get("client_url"),
    }
    return IncomingAlert(
        name=keep.name(payload.get("summary"), key),
        fingerprint=fitting(key),
        status=AlertStatus.RESOLVED if is_over else AlertStatus.FIRING,
        severity=severity_of(payload.get("severity")),
        labels=labels,
        annotations=keep.annotations(
            {
                **({"summary": payload["summary"]} if payload.get("summary") else {}),
                **(_flat(details) if isinstance(details, Mapping) else {"details": details} if details else {}),
                **links,
            }
        ),
        starts_at=None if is_over else time,
        ends_at=time if is_over else None,
        generator_url=keep.url(body.get("client_url")),
        group_key=key,
        is_acknowledged=action == "acknowledge",
        ends_incident=is_over,
        remarks=keep.remarks,
        unsaid=frozenset(field for field, value in said_of.items() if not value),
    )


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _labels(details: Any) -> dict[str, Any]:
    return {name: details[name] for name in _DETAILS if details.get(name)} if isinstance(details, Mapping) else {}


def _flat(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if isinstance(value, str | int | float | bool)}
