"""Which rows of a list, and in which order: the inputs of every connection, and what they ask of Postgres."""

from enum import StrEnum

import strawberry

from domain.alerts import AlertStatus
from domain.feed import EventType
from domain.incidents import IncidentSource, IncidentStatus, Severity
from domain.services import ServiceStatus
from domain.slos import SLOStatus
from domain.timeline import TimelineEventType
from feed.cursor import REFUSAL_SQL, decode
from resolvers import sql
from resolvers.compile.sources import Order, OrderKey, RowCursors
from schema.enums import OrderDirection, describe
from schema.scalars import JSON, DateTime

NAMED_SERVICES = (
    "select id from services"
    " where lower(name) = any(array(select lower(given) from unnest({value}) given)) or id::text = any({value})"
)
HAS_WORDS = "{it}.search @@ websearch_to_tsquery('english', {value})"
HAS_LABELS = "{it}.labels @> {value}"


@sql.filter
class IncidentFilter:
    """Which incidents. What is left out asks nothing."""

    status: list[IncidentStatus] | None = sql.condition(
        "In one of these statuses.", "{it}.status = any({value})", "incident_status[]"
    )
    severity: list[Severity] | None = sql.condition(
        "Of one of these severities.", "{it}.severity = any({value})", "severity[]"
    )
    active: bool | None = sql.switch(
        "Whether it is not resolved yet.", true="{it}.status <> 'RESOLVED'", false="{it}.status = 'RESOLVED'"
    )
    services: list[str] | None = sql.condition(
        "Hurting one of these services, by name or id.",
        f"{{it}}.id = any(array(select incident_id from incidents_services where service_id in ({NAMED_SERVICES})))",
        "text[]",
    )
    source: list[IncidentSource] | None = sql.condition(
        "From one of these sources.", "{it}.source = any({value})", "incident_source[]"
    )
    search: str | None = sql.condition(
        'With these words in title, description or timeline, as in a web search: checkout "card declined" -test.',
        "{it}.id = any(array(select found.id from incidents found"
        " where found.search @@ websearch_to_tsquery('english', {value})"
        " union select told.incident_id from timeline_events told"
        " where told.search @@ websearch_to_tsquery('english', {value})))",
        "text",
    )
    started_after: DateTime | None = sql.condition("Started at or after.", "{it}.started_at >= {value}", "timestamptz")
    started_before: DateTime | None = sql.condition("Started before.", "{it}.started_at < {value}", "timestamptz")
    labels: JSON | None = sql.condition("With all of these labels: an object of strings.", HAS_LABELS, "jsonb")


class IncidentOrderField(StrEnum):
    """What incidents are sorted by."""

    STARTED_AT = "STARTED_AT"
    UPDATED_AT = "UPDATED_AT"
    SEVERITY = "SEVERITY"
    NUMBER = "NUMBER"


describe(
    IncidentOrderField,
    STARTED_AT="When they started.",
    UPDATED_AT="When they last changed.",
    SEVERITY="How much they hurt; DESC has the most severe first.",
    NUMBER="Their number.",
)


@strawberry.input(description="In which order incidents come.")
class IncidentOrder:
    """In which order incidents come."""

    field: IncidentOrderField = strawberry.field(description="What they are sorted by.")
    direction: OrderDirection = strawberry.field(description="Which way.")


INCIDENT_ORDER = Order(
    {
        "STARTED_AT": OrderKey("{it}.started_at", "timestamptz"),
        "UPDATED_AT": OrderKey("{it}.updated_at", "timestamptz"),
        "SEVERITY": OrderKey("{it}.severity", "severity"),
        "NUMBER": OrderKey("{it}.number", "integer"),
    },
    default="STARTED_AT",
)


@sql.filter
class TimelineEventFilter:
    """Which timeline entries. What is left out asks nothing."""

    type: list[TimelineEventType] | None = sql.condition(
        "Of one of these kinds.", "{it}.type = any({value})", "timeline_event_type[]"
    )
    incident_id: strawberry.ID | None = sql.condition("Of this incident.", "{it}.incident_id = {value}", "uuid")
    severity: list[Severity] | None = sql.condition(
        "Of one of these severities.", "{it}.severity = any({value})", "severity[]"
    )
    source: list[str] | None = sql.condition("From one of these sources.", "{it}.source = any({value})", "text[]")
    search: str | None = sql.condition("With these words, as in a web search.", HAS_WORDS, "text")
    occurred_after: DateTime | None = sql.condition("At or after.", "{it}.occurred_at >= {value}", "timestamptz")
    occurred_before: DateTime | None = sql.condition("Before.", "{it}.occurred_at < {value}", "timestamptz")


TIMELINE_ORDER = Order({"OCCURRED_AT": OrderKey("{it}.occurred_at", "timestamptz")}, "OCCURRED_AT", descending=False)


@sql.filter
class ServiceFilter:
    """Which services. What is left out asks nothing."""

    name: list[str] | None = sql.condition(
        "With one of these names, in any case.",
        "lower({it}.name) = any(array(select lower(given) from unnest({value}) given))",
        "text[]",
    )
    search: str | None = sql.condition(
        "With these words in name, display name or description, as in a web search.", HAS_WORDS, "text"
    )
    status: list[ServiceStatus] | None = sql.condition(
        "In one of these statuses.", "{it}.status = any({value})", "service_status[]"
    )
    tier: list[int] | None = sql.condition("Of one of these tiers.", "{it}.tier = any({value})", "integer[]")
    team: list[str] | None = sql.condition(
        "Owned by one of these teams, by name or id.",
        "{it}.team_id in (select id from teams where"
        " lower(name) = any(array(select lower(given) from unnest({value}) given)) or id::text = any({value}))",
        "text[]",
    )
    labels: JSON | None = sql.condition("With all of these labels: an object of strings.", HAS_LABELS, "jsonb")


class ServiceOrderField(StrEnum):
    """What services are sorted by."""

    NAME = "NAME"
    STATUS = "STATUS"
    TIER = "TIER"
    UPDATED_AT = "UPDATED_AT"


describe(
    ServiceOrderField,
    NAME="Their name.",
    STATUS="Their status; ASC has the healthy first.",
    TIER="Their tier; those without one come last in ASC.",
    UPDATED_AT="When they last changed.",
)


@strawberry.input(description="In which order services come.")
class ServiceOrder:
    """In which order services come."""

    field: ServiceOrderField = strawberry.field(description="What they are sorted by.")
    direction: OrderDirection = strawberry.field(description="Which way.")


SERVICE_ORDER = Order(
    {
        "NAME": OrderKey("{it}.name", "text"),
        "STATUS": OrderKey("{it}.status", "service_status"),
        "TIER": OrderKey("coalesce({it}.tier, 6)", "integer"),
        "UPDATED_AT": OrderKey("{it}.updated_at", "timestamptz"),
    },
    default="NAME",
    descending=False,
)


@sql.filter
class SLOFilter:
    """Which SLOs. What is left out asks nothing."""

    services: list[str] | None = sql.condition(
        "Of one of these services, by name or id.", f"{{it}}.service_id = any(array({NAMED_SERVICES}))", "text[]"
    )
    status: list[SLOStatus] | None = sql.condition(
        "In one of these statuses.",
        "coalesce((select state.status from slo_states state where state.slo_id = {it}.id), 'NO_DATA') = any({value})",
        "slo_status[]",
    )
    search: str | None = sql.condition(
        "With these words in name or description, as in a web search.", HAS_WORDS, "text"
    )
    labels: JSON | None = sql.condition("With all of these labels: an object of strings.", HAS_LABELS, "jsonb")


class SLOOrderField(StrEnum):
    """What SLOs are sorted by."""

    NAME = "NAME"
    OBJECTIVE = "OBJECTIVE"
    CREATED_AT = "CREATED_AT"


describe(
    SLOOrderField,
    NAME="Their name.",
    OBJECTIVE="Their objective.",
    CREATED_AT="When they were made.",
)


@strawberry.input(description="In which order SLOs come.")
class SLOOrder:
    """In which order SLOs come."""

    field: SLOOrderField = strawberry.field(description="What they are sorted by.")
    direction: OrderDirection = strawberry.field(description="Which way.")


SLO_ORDER = Order(
    {
        "NAME": OrderKey("{it}.name", "text"),
        "OBJECTIVE": OrderKey("{it}.objective", "numeric"),
        "CREATED_AT": OrderKey("{it}.created_at", "timestamptz"),
    },
    default="NAME",
    descending=False,
)


@sql.filter
class AlertFilter:
    """Which alerts. What is left out asks nothing."""

    status: list[AlertStatus] | None = sql.condition(
        "In one of these statuses.", "{it}.status = any({value})", "alert_status[]"
    )
    severity: list[Severity] | None = sql.condition(
        "Of one of these severities.", "{it}.severity = any({value})", "severity[]"
    )
    name: list[str] | None = sql.condition("With one of these names.", "{it}.name = any({value})", "text[]")
    services: list[str] | None = sql.condition(
        "About one of these services, by name or id.", f"{{it}}.service_id = any(array({NAMED_SERVICES}))", "text[]"
    )
    incident_id: strawberry.ID | None = sql.condition("Of this incident.", "{it}.incident_id = {value}", "uuid")
    started_after: DateTime | None = sql.condition("Started at or after.", "{it}.starts_at >= {value}", "timestamptz")
    started_before: DateTime | None = sql.condition("Started before.", "{it}.starts_at < {value}", "timestamptz")
    labels: JSON | None = sql.condition("With all of these labels: an object of strings.", HAS_LABELS, "jsonb")


ALERT_ORDER = Order({"STARTS_AT": OrderKey("{it}.starts_at", "timestamptz")}, "STARTS_AT")


@sql.filter
class EventFilter:
    """Which events. What is left out asks nothing."""

    types: list[EventType] | None = sql.condition("Of one of these types.", "{it}.type = any({value})", "event_type[]")
    incident_id: strawberry.ID | None = sql.condition("About this incident.", "{it}.incident_id = {value}", "uuid")
    services: list[str] | None = sql.condition(
        "About one of these services, by name or id.",
        f"{{it}}.service_ids && array({NAMED_SERVICES})",
        "text[]",
    )
    severity: list[Severity] | None = sql.condition(
        "About incidents of one of these severities.", "{it}.severity = any({value})", "severity[]"
    )


EVENT_ORDER = Order(
    {"POSITION": OrderKey("{it}.position", "bigint")},
    "POSITION",
    descending=False,
    tiebreak=OrderKey("{it}.position", "bigint"),
    cursors=RowCursors(
        decode,
        {
            "epoch": (lambda cursor: cursor.epoch, "uuid"),
            "position": (lambda cursor: cursor.position, "bigint"),
            "last": (lambda cursor: cursor.seen and cursor.seen.last, "bigint"),
            "snapshot": (lambda cursor: cursor.seen and str(cursor.seen.snapshot), "text"),
        },
        is_after="{it}.position > {position} and"
        " ({last} is null or {it}.seq > {last} or not pg_visible_in_snapshot({it}.xid, {snapshot}::pg_snapshot))",
        refusal=REFUSAL_SQL,
    ),
)
