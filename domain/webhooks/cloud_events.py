"""CloudEvents 1.0 over HTTP (CNCF): structured, batched and binary."""

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from domain.errors import ValidationFailed
from domain.fingerprints import fingerprint
from domain.webhooks import generic
from domain.webhooks.bodies import json_body
from domain.webhooks.incoming import Delivery, IncomingAlert, Rejected
from domain.webhooks.kept import first_of, status_of

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_ESCAPED: Final = re.compile(r"\\(.)")
_REQUIRED: Final = ("specversion", "id", "source", "type")


def read(body: bytes, headers: Mapping[str, str], *, received_at: datetime) -> Delivery:
    """The alerts of a request, whose headers come with lower-case names.

    The data of an event is read by the mapping of `generic`, in which the event's type is the name, its subject the
    service, its time the start and the last part of its type the status (`com.example.alert.resolved`), where the data
    says nothing else. What tells alerts apart is source, subject and type but for that part.
    Raises ValidationFailed for what is no CloudEvent.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == BATCH:
        events = json_body(body)
        if not isinstance(events, list):
            raise ValidationFailed("A batch of CloudEvents is a JSON list")
        return Delivery([_read_or_reject(event, received_at) for event in events])
    if kind == STRUCTURED:
        return Delivery([_read_one(json_body(body), received_at)])
    attributes = {name.removeprefix("ce-"): _said(value) for name, value in headers.items() if name.startswith("ce-")}
    return Delivery([_read_one({**attributes, "data": json_body(body) if body else None}, received_at)])


def _read_or_reject(event: Any, received_at: datetime) -> IncomingAlert | Rejected:
    try:
        return _read_one(event, received_at)
    except ValidationFailed as error:
        return Rejected(error.message)


def _read_one(event: Any, received_at: datetime) -> IncomingAlert | Rejected:
    if not isinstance(event, Mapping):
        raise ValidationFailed("A CloudEvent is a JSON object")
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            raise ValidationFailed(f"The CloudEvent has no `{name}`", (name,))
    if event["specversion"] != "1.0":
        raise ValidationFailed(f"CloudEvents {event['specversion']} are not known here, only 1.0", ("specversion",))
    data = _decoded(event["data_base64"]) if "data_base64" in event else event.get("data")
    given: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {} if data is None else {"message": data}
    stem, _, last = event["type"].rpartition(".")
    said = status_of(last)
    kind = stem if said is not None and stem else event["type"]
    defaults = {"name": kind, "service": event.get("subject"), "timestamp": event.get("time")}
    if said is not None:
        defaults["status"] = last
    told = {name: value for name, value in defaults.items() if value is not None} | given
    told.pop("id", None)  # An event's id tells deliveries apart, not alerts.
    alert = generic.read_one(told, received_at=received_at)
    if isinstance(alert, Rejected) or first_of(given, ("fingerprint", "dedup_key", "alias")):
        return alert
    subject = event.get("subject")
    identity = {"source": event["source"], "type": kind, "subject": subject if isinstance(subject, str) else ""}
    return replace(alert, fingerprint=fingerprint(identity))


def _said(header: str) -> str:
    """What a header says: quoted or not, with percent signs for what headers cannot hold (HTTP binding, 3.1.3.2)."""
    if len(header) > 1 and header[0] == header[-1] == '"':
        header = _ESCAPED.sub(r"\1", header[1:-1])
    return unquote(header)


def _decoded(data: Any) -> Any:
    """Data that came as bytes: JSON, as far as it has to say something here."""
    try:
        return json_body(b64decode(data, validate=True))
    except (TypeError, ValueError) as error:
        raise ValidationFailed("The CloudEvent's `data_base64` is no base64", ("data_base64",)) from error
