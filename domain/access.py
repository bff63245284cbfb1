"""Who acts, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
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
    `subject` is who they are for an issuer that vouches for them, and that issuer, where they are no user here.
    `vouched_role` is the role that an issuer says they have, None where it is for us to say.
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
    subject: str | None = None
    vouched_role: Role | None = None

    @property
    def viewer(self) -> UUID | str | None:
        """Who asks, as one to whom limits apply; None for whoever has not signed in."""
        return self.id or self.credential_id or self.subject


@dataclass(frozen=True, slots=True)
class Permission:
    """What somebody needs for something: a role, and of a token a scope as well. Without a scope, any token will do."""

    role: Role
    scope: TokenScope | None


_RANKS: Final = {role: rank for rank, role in enumerate(Role)}


def permits(role: Role, scopes: frozenset[TokenScope] | None, permission: Permission) -> bool:
    """Whether who has this role may do what takes a permission, by a token with these scopes, if they narrow it."""
    if _RANKS[role] < _RANKS[permission.role]:
        return False
    return scopes is None or permission.scope is None or permission.scope in scopes


def require(actor: Actor, permission: Permission) -> None:
    """Raise Forbidden unless the actor has a permission."""
    if permits(actor.role, actor.scopes, permission):
        return
    if not permits(actor.role, None, permission):
        raise Forbidden(f"This takes the role {permission.role}, and yours is {actor.role}: ask an admin for it")
    raise Forbidden(f"This takes a token with the scope {permission.scope}, which yours has not")
