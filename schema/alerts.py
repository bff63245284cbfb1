"""Alerts."""

from db.alerts import alerts
from domain.alerts import AlertStatus
from domain.incidents import Severity
from resolvers import sql
from schema.nodes import Node
from schema.references import IncidentRef, ServiceRef
from schema.scalars import JSON, URL, DateTime


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
    occurrences: int = sql.column("How many times it fired.")
