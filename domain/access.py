"""Who acts, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from domain.errors import Forbidden


class Role(StrEnum):
    """What a person or a token may do, each role including the ones before it."""

    VIEWER = "VIEWER"
    RESPONDER = "RESPONDER"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a person, a token, or a part of this program.

    `id` is that of a user, or None when no user stands behind it; `name` is what people read. `request_id` and
    `address` say where the request came from, for the audit log.
    """

    id: UUID | None
    name: str
    role: Role
    request_id: str | None = None
    address: str | None = None


def require_role(actor: Actor, role: Role) -> None:
    """Raise Forbidden unless the actor has this role, or one that includes it."""
    roles = list(Role)
    if roles.index(actor.role) < roles.index(role):
        raise Forbidden(f"This takes the role {role}, and yours is {actor.role}: ask an admin for it")
