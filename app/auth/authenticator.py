"""Who asks.

Every request and every socket is asked for its proof here, and nowhere else. What was proven is kept for a moment, so
that a client that asks often costs next to nothing; for as long, a right that was taken away is still there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final, Protocol
from uuid import UUID

from starlette.types import Scope

from app.observability.logs import request_id
from domain.access import Actor, Role, TokenScope
from domain.errors import Unauthenticated

KEPT_SECONDS: Final = 2.0
"""How long a proof is taken for granted, and a right that was taken away is still there."""

_MOST_KEPT: Final = 10_000
_NO_PROOF: Final = "Say who you are: send a token in the header Authorization: Bearer ..."


@dataclass(frozen=True, slots=True)
class Identity:
    """What a proof says of whoever holds it, for any of their requests."""

    id: UUID | None
    name: str
    role: Role
    scopes: frozenset[TokenScope] | None = None
    expires_at: datetime | None = None
    credential_id: UUID | None = None

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
        )


class Authenticator(Protocol):
    """Knows who asks."""

    async def identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Actor:
        """Whoever sends a request with these headers (names in lower case).

        Raises Unauthenticated, DatabaseUnavailable, DeadlineExceeded.
        """
        ...

    async def current(self, actor: Actor) -> Actor | None:
        """The actor with the rights that they have now, or None where they have none any more. Cheap: ask often."""
        ...


class Everybody:
    """Authentication is off: whoever asks is an admin without a name."""

    _identity = Identity(None, "anonymous", Role.ADMIN)

    async def identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Actor:
        """Nobody is asked for anything."""
        return self._identity.actor(scope)

    async def current(self, actor: Actor) -> Actor | None:
        """Nobody's rights end."""
        return actor


class TokenAuthenticator:
    """Whoever asks has to show a token. `prove` says whose it is, or raises Unauthenticated."""

    def __init__(self, prove: Callable[[str], Awaitable[Identity]], *, now: Callable[[], datetime]) -> None:
        self._prove = prove
        self._now = now
        self._kept: dict[bytes, tuple[Identity, float]] = {}
        self._asking: dict[bytes, asyncio.Task[Identity]] = {}

    async def identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Actor:
        """Whoever holds the token of the header Authorization."""
        given = headers.get(b"authorization")
        if given is None:
            raise Unauthenticated(_NO_PROOF, is_token_wrong=False)
        kept = self._kept.get(given)
        if kept is not None and kept[1] > monotonic():
            return kept[0].actor(scope)
        return (await self._ask(given)).actor(scope)

    async def current(self, actor: Actor) -> Actor | None:
        """The actor, for as long as their proof holds."""
        if actor.expires_at is not None and actor.expires_at <= self._now():
            return None
        return actor

    async def _ask(self, given: bytes) -> Identity:
        """What a proof says, once for all who show it at the same time."""
        asking = self._asking.get(given)
        if asking is None:
            asking = self._asking[given] = asyncio.create_task(self._prove_and_keep(given))
            asking.add_done_callback(lambda task: self._asked(given, task))
        return await asyncio.shield(asking)

    def _asked(self, given: bytes, task: asyncio.Task[Identity]) -> None:
        del self._asking[given]
        if not task.cancelled():
            task.exception()  # Whoever waited has it; nobody may be left who did.

    async def _prove_and_keep(self, given: bytes) -> Identity:
        identity = await self._prove(bearer_token(given))
        until = monotonic() + KEPT_SECONDS
        if identity.expires_at is not None:
            left_seconds = (identity.expires_at - self._now()).total_seconds()
            until = min(until, monotonic() + left_seconds)
        self._kept.pop(given, None)
        while len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[given] = (identity, until)
        return identity


def bearer_token(header: bytes) -> str:
    """The token in a header Authorization (RFC 6750, section 2.1). Raises Unauthenticated."""
    scheme, _, token = header.strip().partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise Unauthenticated("The header Authorization must be: Bearer, a space, and the token")
    try:
        return token.strip().decode("ascii")
    except UnicodeDecodeError as error:
        raise Unauthenticated("The token has characters that no token has") from error
