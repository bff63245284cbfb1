"""Any JSON about alerts, by a documented mapping (docs/alerts.md): the first of these names that is there counts.

| of the alert | is taken from |
|---|---|
| name | `name`, `alertname`, `title`, `labels.alertname`, `summary`, `message` |
| status | `status`, `state`, `event_action`: firing (the default), open, triggered, ... or resolved, ok, ... |
| severity | `severity`, `priority`, `level`, `labels.severity`; medium by default |
| labels | `labels`, `tags` (an object, or a list of `name:value`), and `service`, `environment`, `host` |
| annotations | `annotations`, and `summary`, `description`, `message`, `runbook_url` |
| start | `starts_at`, `startsAt`, `started_at`, `timestamp`, `time` |
| end | `ends_at`, `endsAt`, `ended_at`, `resolved_at` |
| fingerprint | `fingerprint`, `dedup_key`, `alias`, `id`; else from name and labels |
| link | `url`, `generatorURL`, `generator_url`, `link` |
| group | `group_key`, `groupKey`, `group` |

Times are RFC 3339 with an offset, or seconds or milliseconds since 1970. An end may leave out everything but what tells
the alert from others: the rest stays as it is known.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from domain.alerts import AlertStatus
from domain.errors import ValidationFailed
from domain.fingerprints import fingerprint, fitting
from domain.limits import TEXT_CHARACTERS
from domain.webhooks.incoming import Delivery, IncomingAlert, Rejected
from domain.webhooks.kept import Keeper, first_of, severity_of, status_of

_NAME: Final = ("name", "alertname", "title")
_SAYS: Final = ("summary", "message", "description")
_STATUS: Final = ("status", "state", "event_action")
_SEVERITY: Final = ("severity", "priority", "level")
_LABELS: Final = ("service", "environment", "host")
_ANNOTATIONS: Final = ("summary", "description", "message", "runbook_url")
_START: Final = ("starts_at", "startsAt", "started_at", "timestamp", "time")
_END: Final = ("ends_at", "endsAt", "ended_at", "resolved_at")
_FINGERPRINT: Final = ("fingerprint", "dedup_key", "alias", "id")
_LINK: Final = ("url", "generatorURL", "generator_url", "link")
_GROUP: Final = ("group_key", "groupKey", "group")


def read(body: Any, *, received_at: datetime) -> Delivery:
    """One alert, a list of them, or an object with a list `alerts`. Raises ValidationFailed for anything else."""
    match body:
        case {"alerts": [*alerts]} | [*alerts]:
            return Delivery([read_one(alert, received_at=received_at) for alert in alerts])
        case Mapping():
            return Delivery([read_one(body, received_at=received_at)])
    raise ValidationFailed("The body must be an alert (a JSON object), a list of alerts, or an object with `alerts`")


def read_one(alert: Any, *, received_at: datetime) -> IncomingAlert | Rejected:
    """One alert, or why it is none."""
    if not isinstance(alert, Mapping):
        return Rejected("It is no JSON object")
    keep = Keeper(received_at)
    try:
        labels = keep.labels({**_tags(alert), **{name: alert[name] for name in _LABELS if alert.get(name)}})
        annotations = keep.annotations(
            {**_mapping(alert, "annotations"), **{name: alert[name] for name in _ANNOTATIONS if alert.get(name)}}
        )
    except ValidationFailed as error:
        return Rejected(error.message)
    given_name = first_of(alert, _NAME) or labels.get("alertname") or first_of(alert, _SAYS)
    given_key = first_of(alert, _FINGERPRINT)
    if not given_name and not given_key:
        return Rejected("It has neither a name nor a fingerprint")
    word = first_of(alert, _STATUS)
    status = AlertStatus.FIRING if word is None else status_of(word)
    if status is None:
        return Rejected("Its status means neither firing nor resolved")
    ends_at = keep.end(first_of(alert, _END))
    if ends_at is not None and ends_at <= received_at:
        status = AlertStatus.RESOLVED
    name = keep.name(given_name, given_key)
    key = keep.text(given_key, "fingerprint", TEXT_CHARACTERS)
    group = first_of(alert, _GROUP)
    severity = first_of(alert, _SEVERITY)
    link = first_of(alert, _LINK)
    said_of = {
        "name": given_name,
        "severity": severity or labels.get("severity"),
        "labels": labels,
        "annotations": annotations,
        "generator_url": link,
        "group_key": group,
    }
    return IncomingAlert(
        name=name,
        fingerprint=fitting(key) if key else fingerprint({"alertname": name, **labels}),
        status=status,
        severity=severity_of(severity, labels.get("severity")),
        labels=labels,
        annotations=annotations,
        starts_at=keep.start(first_of(alert, _START)),
        ends_at=ends_at,
        generator_url=keep.url(link),
        group_key=keep.text(group, "group", TEXT_CHARACTERS) or None,
        remarks=keep.remarks,
        unsaid=frozenset(field for field, value in said_of.items() if not value),
    )


def written(alert: IncomingAlert) -> dict[str, Any]:
    """An alert as `read_one` reads it."""
    said = {
        "name": alert.name,
        "fingerprint": alert.fingerprint,
        "status": alert.status,
        "severity": alert.severity,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "url": alert.generator_url,
        "group_key": alert.group_key,
    }
    return {name: value for name, value in said.items() if value is not None}


def _tags(alert: Mapping[str, Any]) -> Mapping[str, Any]:
    labels, tags = alert.get("labels"), alert.get("tags")
    if labels is None and isinstance(tags, list):
        pairs = (tag.partition(":") for tag in tags if isinstance(tag, str))
        return {name: value for name, separator, value in pairs if separator}
    return _mapping(alert, "labels") if labels is not None else _mapping(alert, "tags")


def _mapping(alert: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = alert.get(name)
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise ValidationFailed(f"its {name} are no object of names and texts")
