"""What a proof says of whoever holds it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from starlette.types import Scope

from app.observability.logs import request_id
from domain.access import Actor, Role, TokenScope


@dataclass(frozen=True, slots=True)
class Identity:
    """What a proof says of whoever holds it, for any of their requests."""

    id: UUID | None
    name: str
    role: Role
    scopes: frozenset[TokenScope] | None = None
    expires_at: datetime | None = None
    credential_id: UUID | None = None
    subject: str | None = None
    vouched_role: Role | None = None

    def actor(self, scope: Scope) -> Actor:
        """Whoever makes this request."""
        client = scope.get("client")
        return Actor(
            self.id,
            self.name,
            self.role,
            request_id.get(),
            client[0] if client else None,
            self.scopes,
            self.expires_at,
            self.credential_id,
            self.subject,
            self.vouched_role,
        )
