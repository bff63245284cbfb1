"""Maintenance windows."""

from db.alerts import maintenance_windows
from resolvers import sql
from resolvers.compile.sources import Order, OrderKey
from schema.nodes import Node
from schema.people import User
from schema.references import ServiceRef
from schema.scalars import DateTime

WINDOW_ORDER = Order({"STARTS_AT": OrderKey("{it}.starts_at", "timestamptz")}, "STARTS_AT")
MATCHERS = (
    'jsonb_to_recordset({parent}.matchers) as {it}(name text, value text, "isRegex" boolean, "isEqual" boolean)',
    "true",
    "{it}.name, {it}.value",
)


@sql.type(record='name text, value text, "isRegex" boolean, "isEqual" boolean')
class LabelMatcher:
    """A condition on a label of an alert."""

    name: str = sql.expression("The label.", "{it}.name")
    value: str = sql.expression("What it is held against.", "{it}.value")
    is_regex: bool = sql.expression("Whether that is a pattern, which matches the whole label.", '{it}."isRegex"')
    is_equal: bool = sql.expression("Whether it has to match, or must not.", '{it}."isEqual"')


@sql.type(maintenance_windows)
class MaintenanceWindow(Node):
    """A time in which nobody is told of the alerts of a service, or of those with some labels."""

    title: str = sql.column("What is done.")
    service: ServiceRef | None = sql.one("The service.", "services {it}", "{it}.id = {parent}.service_id")
    matchers: list[LabelMatcher] = sql.many("All of what the labels of its alerts match.", *MATCHERS)
    starts_at: DateTime = sql.column("From when.")
    ends_at: DateTime = sql.column("Until when.")
    is_active: bool = sql.expression("Whether it is now.", "{now} >= {it}.starts_at and {now} < {it}.ends_at")
    created_by: User | None = sql.one("Who made it.", "users {it}", "{it}.id = {parent}.created_by_id")


@sql.filter
class MaintenanceWindowFilter:
    """Which windows. What is left out asks nothing."""

    ends_after: DateTime | None = sql.condition("That end after.", "{it}.ends_at > {value}", "timestamptz")
    starts_before: DateTime | None = sql.condition("That start before.", "{it}.starts_at < {value}", "timestamptz")
