"""What the built-in detection watches."""

from db.detection import detection_rules
from domain.alerts import Comparison, DetectionKind
from domain.incidents import Severity
from domain.telemetry import GoldenSignal
from resolvers import sql
from resolvers.compile.sources import Order, OrderKey
from schema.nodes import Node
from schema.references import ServiceRef
from schema.scalars import JSON, DateTime

DETECTION_RULE_ORDER = Order({"NAME": OrderKey("{it}.name", "text")}, "NAME", descending=False)


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
    parameters: JSON = sql.column("What else its kind wants to know.")
    last_evaluated_at: DateTime | None = sql.column("When it was last evaluated.")
    last_error: str | None = sql.column("Why it could not be evaluated.")
    failing_since: DateTime | None = sql.column("Since when it cannot be evaluated.")
    version: int = sql.column("Counts its changes.")
    created_at: DateTime = sql.column("When it was made.")
    updated_at: DateTime = sql.column("When it was last changed.")
