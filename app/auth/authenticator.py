"""Who asks.

Every request and every socket is asked for its proof here, and nowhere else. What was proven is kept for a moment, so
that a client that asks often costs next to nothing; for as long, a right that was taken away is still there.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Any, Final, Protocol
from uuid import UUID

from starlette.types import Scope

from app.auth.identity import Identity
from app.auth.proofs import Proofs
from domain.access import Actor, Role
from domain.errors import DatabaseUnavailable, DeadlineExceeded, Unauthenticated

KEPT_SECONDS: Final = 2.0
"""How long a proof is taken for granted, and a right that was taken away is still there."""

_MOST_KEPT: Final = 10_000
_GRAFANA: Final = b"grafana "
_NO_PROOF: Final = "Say who you are: send a token in the header Authorization: Bearer ..."


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
    """Whoever asks has to show a token."""

    def __init__(self, proofs: Proofs, *, now: Callable[[], datetime]) -> None:
        self._proofs = proofs
        self._now = now
        self._takes_grafana = proofs.takes_grafana
        self._kept: dict[bytes, tuple[Identity, float]] = {}
        self._asking: dict[bytes, asyncio.Task[Identity]] = {}
        self._rights: dict[tuple[UUID | None, UUID | None], tuple[Actor | None, float]] = {}

    async def identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Actor:
        """Whoever holds the token of the header Authorization, or whom Grafana asks for (X-Grafana-Id)."""
        given = headers.get(b"authorization")
        if self._takes_grafana and (forwarded := headers.get(b"x-grafana-id")) is not None:
            given = _GRAFANA + forwarded
        if given is None:
            raise Unauthenticated(_NO_PROOF, is_token_wrong=False)
        kept = self._kept.get(given)
        if kept is not None and kept[1] > monotonic():
            return kept[0].actor(scope)
        return (await self._ask(given)).actor(scope)

    async def current(self, actor: Actor) -> Actor | None:
        """The actor with the rights that they have now, which are read every KEPT_SECONDS for all of their streams.

        While the database is away, they are what they were.
        """
        if actor.expires_at is not None and actor.expires_at <= self._now():
            return None
        if actor.id is None:
            return actor
        key = (actor.id, actor.credential_id)
        kept = self._rights.get(key)
        if kept is None or kept[1] <= monotonic():
            kept = await self._read_rights(key, actor)
        now = kept[0]
        if now is None or (now.role, now.scopes) == (actor.role, actor.scopes):
            return None if now is None else actor
        return replace(actor, role=now.role, scopes=now.scopes)

    async def _read_rights(self, key: tuple[UUID | None, UUID | None], actor: Actor) -> tuple[Actor | None, float]:
        known = self._rights.get(key)
        # Who comes meanwhile gets what was known, so that one of all streams asks.
        if known is not None:
            self._rights[key] = (known[0], monotonic() + KEPT_SECONDS)
        try:
            rights = await self._proofs.rights(actor)
        except (DatabaseUnavailable, DeadlineExceeded):
            rights = actor if known is None else known[0]
        self._rights.pop(key, None)
        _make_room(self._rights)
        found = self._rights[key] = (rights, monotonic() + KEPT_SECONDS)
        return found

    async def _ask(self, given: bytes) -> Identity:
        """What a proof says, once for all who show it at the same time."""
        asking = self._asking.get(given)
        if asking is None:
            asking = self._asking[given] = asyncio.create_task(self._prove_and_keep(given))
            asking.add_done_callback(lambda task: self._asked(given, task))
        return await asyncio.shield(asking)

    def _asked(self, given: bytes, task: "asyncio.Task[Identity]") -> None:
        del self._asking[given]
        if not task.cancelled():
            task.exception()  # Whoever waited has it; nobody may be left who did.

    async def _prove_and_keep(self, given: bytes) -> Identity:
        if given.startswith(_GRAFANA):
            identity = await self._proofs.grafana_identity(_text(given.removeprefix(_GRAFANA)))
        else:
            identity = await self._proofs.identity(bearer_token(given))
        until = monotonic() + KEPT_SECONDS
        if identity.expires_at is not None:
            left_seconds = (identity.expires_at - self._now()).total_seconds()
            until = min(until, monotonic() + left_seconds)
        self._kept.pop(given, None)
        _make_room(self._kept)
        self._kept[given] = (identity, until)
        return identity


def bearer_token(header: bytes) -> str:
    """The token in a header Authorization (RFC 6750, section 2.1). Raises Unauthenticated."""
    scheme, _, token = header.strip().partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise Unauthenticated("The header Authorization must be: Bearer, a space, and the token")
    return _text(token.strip())


def _text(token: bytes) -> str:
    try:
        return token.decode("ascii")
    except UnicodeDecodeError as error:
        raise Unauthenticated("The token has characters that no token has") from error


def _make_room(kept: dict[Any, Any]) -> None:
    """What was kept first goes first."""
    while len(kept) >= _MOST_KEPT:
        del kept[next(iter(kept))]
