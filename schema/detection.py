"""What the built-in detection watches, and what it says."""

from db.detection import detection_rules, detection_states
from domain.alerts import Comparison, DetectionKind, DetectionStatus
from domain.incidents import Severity
from domain.telemetry import GoldenSignal
from resolvers import sql
from resolvers.compile.sources import Order, OrderKey
from schema.nodes import Node
from schema.references import ServiceRef
from schema.scalars import JSON, DateTime

DETECTION_RULE_ORDER = Order({"NAME": OrderKey("{it}.name", "text")}, "NAME", descending=False)


@sql.type(detection_states)
class DetectionState:
    """What a rule says of one service now."""

    service: ServiceRef = sql.one("The service.", "services {it}", "{it}.id = {parent}.service_id")
    status: DetectionStatus = sql.column("Whether it fires, or may soon.")
    since: DateTime = sql.column("Since when.")
    bad_since: DateTime | None = sql.column("Since when it is bad, where it is pending or fires.")
    last_value: float | None = sql.column("The last value that was known, in the unit of the signal.")
    seen_at: DateTime | None = sql.column("When something was last known.")
    evaluated_at: DateTime = sql.column("When it was last evaluated.")
    last_error: str | None = sql.column("Why it could not be evaluated the last time.")


@sql.type(detection_rules)
class DetectionRule(Node):
    """What is watched, and when it is an alert."""

    name: str = sql.column("What the rule is called.")
    description: str = sql.column("What it is for.")
    kind: DetectionKind = sql.column("How it decides.")
    is_enabled: bool = sql.column("Whether it is evaluated.")
    signal: GoldenSignal | None = sql.column("The signal that it watches.")
    query: str | None = sql.column("The query that it watches instead of a signal.")
    comparison: Comparison | None = sql.column("Which side of the threshold is bad.")
    threshold: float | None = sql.column("Where bad begins, in the unit of the signal.")
    for_seconds: int = sql.column("How long it must be bad.")
    severity: Severity = sql.column("How bad its alerts are.")
    service: ServiceRef | None = sql.one(
        "The one service that it watches; all of them where there is none.",
        "services {it}",
        "{it}.id = {parent}.service_id",
    )
    labels: JSON = sql.column("Labels of its alerts, a flat object of strings.")
    parameters: JSON = sql.column("What else its kind wants to know, as given; see `docs/detection.md`.")
    last_evaluated_at: DateTime | None = sql.column("When it was last evaluated.")
    last_error: str | None = sql.column("Why it could not be evaluated.")
    failing_since: DateTime | None = sql.column("Since when it cannot be evaluated.")
    states: list[DetectionState] = sql.many(
        "What it says of each service that it knows something of, those that fire first.",
        "detection_states {it} join services {it}_of on {it}_of.id = {it}.service_id",
        "{it}.rule_id = {parent}.id",
        "{it}.status = 'FIRING' desc, {it}.status = 'PENDING' desc, {it}_of.name, {it}.service_id",
    )
    version: int = sql.column("Counts its changes.")
    created_at: DateTime = sql.column("When it was made.")
    updated_at: DateTime = sql.column("When it was last changed.")
