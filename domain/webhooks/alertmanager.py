"""Alertmanager's webhook, version 4, and Grafana's, which has the same shape and says more."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from domain.alerts import AlertStatus
from domain.errors import ValidationFailed
from domain.fingerprints import fingerprint, fitting
from domain.limits import TEXT_CHARACTERS
from domain.webhooks.incoming import Delivery, IncomingAlert, Rejected
from domain.webhooks.kept import Keeper, severity_of, status_of

MOST_LEFT_OUT: Final = 2**31 - 1
_GRAFANA_SAYS: Final = {
    "valueString": "value",
    "dashboardURL": "dashboard_url",
    "panelURL": "panel_url",
    "silenceURL": "silence_url",
    "imageURL": "image_url",
}


def read(body: Any, *, received_at: datetime) -> Delivery:
    """The alerts of a notification (its JSON). Raises ValidationFailed for what is no notification at all.

    Resolved alerts come with the start that they had; a fingerprint is taken as given, else computed from the labels.
    """
    if not isinstance(body, Mapping):
        raise ValidationFailed("The body must be a JSON object, as Alertmanager's and Grafana's webhooks send it")
    alerts = body.get("alerts")
    if not isinstance(alerts, list):
        raise ValidationFailed("The notification has no list of alerts", ("alerts",))
    group_key = body.get("groupKey") if isinstance(body.get("groupKey"), str) else None
    left_out = body.get("truncatedAlerts")
    return Delivery(
        [_read_one(alert, group_key, received_at) for alert in alerts],
        min(left_out, MOST_LEFT_OUT) if isinstance(left_out, int) and left_out > 0 else 0,
    )


def _read_one(alert: Any, group_key: str | None, received_at: datetime) -> IncomingAlert | Rejected:
    if not isinstance(alert, Mapping):
        return Rejected("It is no JSON object")
    keep = Keeper(received_at)
    try:
        labels = keep.labels(alert.get("labels"))
        annotations = keep.annotations({**_dictionary(alert.get("annotations")), **_grafana_annotations(alert)})
    except ValidationFailed as error:
        return Rejected(error.message)
    if not labels:
        return Rejected("It has no labels, so nothing tells it from other alerts")
    status = status_of(alert.get("status"))
    if status is None:
        return Rejected("Its status is neither firing nor resolved")
    ends_at = keep.end(alert.get("endsAt"))
    if status is AlertStatus.FIRING and ends_at is not None and ends_at <= received_at:
        status = AlertStatus.RESOLVED  # As Alertmanager has it: what ends in the past fires no more.
    given = keep.text(alert.get("fingerprint"), "fingerprint", TEXT_CHARACTERS)
    return IncomingAlert(
        name=keep.name(labels.get("alertname"), annotations.get("summary")),
        fingerprint=fitting(given) if given else fingerprint(labels),
        status=status,
        severity=severity_of(labels.get("severity"), labels.get("priority"), labels.get("level")),
        labels=labels,
        annotations=annotations,
        starts_at=keep.start(alert.get("startsAt")),
        ends_at=ends_at,
        generator_url=keep.url(alert.get("generatorURL")),
        group_key=None if group_key is None else keep.text(group_key, "group key", TEXT_CHARACTERS),
        remarks=keep.remarks,
    )


def _dictionary(value: Any) -> Mapping[Any, Any]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise ValidationFailed("its annotations are no object of names and texts")


def _grafana_annotations(alert: Mapping[str, Any]) -> dict[str, Any]:
    return {name: alert[field] for field, name in _GRAFANA_SAYS.items() if alert.get(field)}
