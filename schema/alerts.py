"""Alerts."""

from db.alerts import alert_occurrences, alert_suppressions, alerts
from domain.alerts import AlertStatus
from domain.incidents import Severity
from domain.suppressions import SuppressionKind
from resolvers import sql
from resolvers.compile.sources import Order, OrderKey
from schema.nodes import Connection, Node
from schema.references import IncidentRef, ServiceRef
from schema.scalars import JSON, URL, DateTime

OCCURRENCE_ORDER = Order({"STARTS_AT": OrderKey("{it}.starts_at", "timestamptz")}, "STARTS_AT")


@sql.type(alert_occurrences)
class AlertOccurrence:
    """One firing of an alert."""

    starts_at: DateTime = sql.column("When it began.")
    ends_at: DateTime | None = sql.column("When it ended, or will be taken to have ended.")
    is_over: bool = sql.column("Whether its end was told.")
    incident: IncidentRef | None = sql.one(
        "The incident that it belongs to.", "incidents {it}", "{it}.id = {parent}.incident_id"
    )


@sql.type(alert_suppressions)
class AlertSuppression:
    """Why nobody was told of an alert."""

    kind: SuppressionKind = sql.column("What kept it from being told.")
    by: str = sql.column("Which one: the id of a window or a silence, an incident, the fingerprint of another alert.")
    reason: str = sql.column("What that says.")
    starts_at: DateTime = sql.column("From when.", "starts_at")
    ends_at: DateTime | None = sql.column("Until when, where that is known.", "ends_at")


@sql.type(alerts)
class Alert(Node):
    """Something that a monitoring system said."""

    name: str = sql.column("What the alert is called.")
    fingerprint: str = sql.column("What its source tells it from others by.")
    status: AlertStatus = sql.column("Whether it fires.")
    severity: Severity = sql.column("How bad it is.")
    labels: JSON = sql.column("Its labels, a flat object of strings.")
    annotations: JSON = sql.column("What it says to people, a flat object of strings.")
    starts_at: DateTime = sql.column("Since when it fires.")
    ends_at: DateTime | None = sql.column("When it stopped, or will be taken to have stopped.")
    generator_url: URL | None = sql.column("Where it came from.")
    source: str = sql.column("Which system said it.")
    service: ServiceRef | None = sql.one(
        "The service that it is about.", "services {it}", "{it}.id = {parent}.service_id"
    )
    incident: IncidentRef | None = sql.one(
        "The incident that it belongs to.", "incidents {it}", "{it}.id = {parent}.incident_id"
    )
    is_pinned: bool = sql.column("Whether a person said which incident it belongs to.")
    occurrences: int = sql.column("How many times it fired.")
    history: Connection[AlertOccurrence] = sql.connection(
        "Its firings, the latest first.",
        "alert_occurrences {it}",
        "{it}.alert_id = {parent}.id",
        OCCURRENCE_ORDER,
        backward=False,
    )
    suppressions: list[AlertSuppression] = sql.many(
        "Why nobody was told of it, the latest first.",
        "alert_suppressions {it}",
        "{it}.alert_id = {parent}.id",
        "{it}.starts_at desc, {it}.id",
    )
