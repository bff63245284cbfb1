"""What other systems told, what became of it, and whether that adds up."""

from db.alerts import alert_audits, alert_deliveries, alert_dispositions
from domain.alerts import AlertDisposition, WebhookKind
from domain.permissions import READ_DELIVERIES
from resolvers import sql
from resolvers.compile.sources import Condition, Order, OrderKey
from resolvers.sql import Given
from schema.alerts import Alert
from schema.nodes import Connection, Node
from schema.scalars import DateTime

DELIVERY_ORDER = Order({"RECEIVED_AT": OrderKey("{it}.received_at", "timestamptz")}, "RECEIVED_AT")
DISPOSITION_ORDER = Order(
    {"POSITION": OrderKey("{it}.position", "integer")},
    "POSITION",
    descending=False,
    tiebreak=OrderKey("{it}.position", "integer"),
)
COUNTED = (
    "(select disposition, count(*)::integer as count from alert_dispositions"
    " where delivery_id = {parent}.id group by disposition) {it}"
)


@sql.type(alert_dispositions)
class Disposition:
    """What became of one alert of a delivery."""

    position: int = sql.column("Which alert of the delivery, from 0.")
    disposition: AlertDisposition = sql.column("What became of it.")
    reason: str = sql.column("Why, and what of it could not be kept.")
    alert: Alert | None = sql.one("The alert that it was about.", "alerts {it}", "{it}.id = {parent}.alert_id")


@sql.type(record="disposition alert_disposition, count integer")
class DispositionCount:
    """How many alerts of a delivery became the same."""

    disposition: AlertDisposition = sql.expression("What became of them.", "{it}.disposition")
    count: int = sql.expression("How many.", "{it}.count")


@sql.type(alert_deliveries, permission=READ_DELIVERIES)
class AlertDelivery(Node):
    """A request that brought alerts. Its id is the receipt that its sender was given."""

    source: str = sql.column("Who sent it.")
    kind: WebhookKind = sql.column("In which shape.")
    received_at: DateTime = sql.column("When it was stored; only then was its sender told so.")
    processed_at: DateTime | None = sql.column("When it was worked off.")
    alert_count: int = sql.column("How many alerts it brought.")
    left_out: int = sql.column("How many alerts its sender had and did not send.")
    counts: list[DispositionCount] = sql.many(
        "What became of its alerts, in numbers.", COUNTED, "true", "{it}.disposition"
    )
    dispositions: Connection[Disposition] = sql.connection(
        "What became of each of its alerts, in their order.",
        "alert_dispositions {it}",
        "{it}.delivery_id = {parent}.id",
        DISPOSITION_ORDER,
        arguments={
            "disposition": Given(
                list[AlertDisposition] | None,
                "Only those that became one of these.",
                Condition("{it}.disposition = any({value})", "alert_disposition[]"),
            )
        },
        backward=False,
    )


@sql.filter
class AlertDeliveryFilter:
    """Which deliveries. What is left out asks nothing."""

    source: list[str] | None = sql.condition("From one of these sources.", "{it}.source = any({value})", "text[]")
    kind: list[WebhookKind] | None = sql.condition(
        "In one of these shapes.", "{it}.kind = any({value})", "webhook_kind[]"
    )
    received_after: DateTime | None = sql.condition(
        "Received at or after.", "{it}.received_at >= {value}", "timestamptz"
    )
    received_before: DateTime | None = sql.condition("Received before.", "{it}.received_at < {value}", "timestamptz")


@sql.type(alert_audits)
class AlertAudit:
    """Whether every alert that was taken in the last 24 hours ended in exactly one disposition."""

    audited_at: DateTime = sql.column("When it was counted; once a minute.")
    deliveries: int = sql.column("Deliveries that were worked off.")
    received: int = sql.column("The alerts in them.")
    created: int = sql.column("Alerts that were not known.")
    updated: int = sql.column("Those that changed what was known.")
    duplicate: int = sql.column("Those that said nothing new.")
    suppressed: int = sql.column("Those of which nobody is told.")
    stale: int = sql.column("Those that were about something that had passed already.")
    rejected: int = sql.column("Those that could not be kept.")
    unaccounted: int = sql.column("Deliveries in which the numbers do not add up: always 0, or there is a bug.")
    waiting: int = sql.column("Deliveries that wait to be worked off.")
    oldest_waiting_seconds: float | None = sql.column("How long the oldest of them waits.")
    ungrouped: int = sql.column("Alerts that fire for a minute without an incident, and are not suppressed: always 0.")
