"""Who acts, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from domain.errors import Forbidden


class Role(StrEnum):
    """What a person or a token may do, each role including the ones before it."""

    VIEWER = "VIEWER"
    RESPONDER = "RESPONDER"
    ADMIN = "ADMIN"


class TokenScope(StrEnum):
    """What a token is for. It narrows what the role of its user allows, and never widens it."""

    READ = "read"
    TELEMETRY_QUERY = "telemetry:query"
    INCIDENTS_WRITE = "incidents:write"
    CATALOG_WRITE = "catalog:write"
    SLOS_WRITE = "slos:write"
    DETECTION_WRITE = "detection:write"
    ALERTS_WRITE = "alerts:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a person, a token, or a part of this program.

    `id` is that of a user, or None when no user stands behind it; `name` is what people read. `scopes` narrow what the
    role allows, None where nothing is narrowed. After `expires_at` the proof of who it is no longer holds.
    `credential_id` is that of the API token or of the session that was the proof, None for proofs of others' making.
    `request_id` and `address` say where the request came from, for the audit log.
    """

    id: UUID | None
    name: str
    role: Role
    request_id: str | None = None
    address: str | None = None
    scopes: frozenset[TokenScope] | None = None
    expires_at: datetime | None = None
    credential_id: UUID | None = None


def require_role(actor: Actor, role: Role) -> None:
    """Raise Forbidden unless the actor has this role, or one that includes it."""
    roles = list(Role)
    if roles.index(actor.role) < roles.index(role):
        raise Forbidden(f"This takes the role {role}, and yours is {actor.role}: ask an admin for it")
