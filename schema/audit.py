"""Who did what, for admins."""

import strawberry

from db.audit import audit_log
from domain.permissions import ADMINISTRATION
from resolvers import sql
from resolvers.compile.sources import Order, OrderKey
from schema.nodes import Node
from schema.people import User
from schema.scalars import JSON, DateTime

AUDIT_ORDER = Order({"OCCURRED_AT": OrderKey("{it}.occurred_at", "timestamptz")}, "OCCURRED_AT")


@sql.type(audit_log, permission=ADMINISTRATION)
class AuditEntry(Node):
    """Something that somebody did. Entries are written together with what they tell of, and never changed."""

    occurred_at: DateTime = sql.column("When.")
    actor_name: str = sql.column("Who: a person, a token or a part of this program, as they were called then.")
    actor: User | None = sql.one(
        "The user that it was, if they still exist.", "users {it}", "{it}.id = {parent}.actor_id"
    )
    actor_subject: str | None = sql.column(
        "Who it was for the issuer that vouched for them: the issuer, and its `sub` for them. Null for users of this "
        "server, and for its own parts."
    )
    action: str = sql.column("What they did, as in `incident.resolve`.")
    subject_type: str = sql.column("The kind of what they did it to, as in `incident`.")
    subject_id: strawberry.ID | None = sql.column("The id of what they did it to.")
    before: JSON | None = sql.column(
        "What was different before, by column; all of what was deleted. Null for what was created. Secrets are hidden."
    )
    after: JSON | None = sql.column("What is different since; all of what was created. Null for what was deleted.")
    request_id: str | None = sql.column("The id of the request, as in logs.")
    address: str | None = sql.column("The address that the request came from.")


@sql.filter
class AuditLogFilter:
    """Which entries. What is left out asks nothing."""

    actor_name: list[str] | None = sql.condition(
        "By one of these, as they were called then.", "{it}.actor_name = any({value})", "text[]"
    )
    actor_id: list[strawberry.ID] | None = sql.condition(
        "By one of these users.", "{it}.actor_id = any({value})", "uuid[]"
    )
    action: list[str] | None = sql.condition("One of these actions.", "{it}.action = any({value})", "text[]")
    subject_id: list[strawberry.ID] | None = sql.condition(
        "Done to one of these things.", "{it}.subject_id = any({value})", "uuid[]"
    )
    occurred_after: DateTime | None = sql.condition("At or after.", "{it}.occurred_at >= {value}", "timestamptz")
    occurred_before: DateTime | None = sql.condition("Before.", "{it}.occurred_at < {value}", "timestamptz")
