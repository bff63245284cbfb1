"""Who asks.

Every request and every socket is asked for its proof here, and nowhere else. What was proven is kept for a moment, so
that a client that asks often costs next to nothing. Where the database says meanwhile that somebody's rights have
changed (`doubt`), it is asked again at once; where that does not reach this process, a right that was taken away is
still there for that moment.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from math import inf
from typing import Final, Protocol
from uuid import UUID

from starlette.types import Scope

from app.auth.identity import Identity
from app.auth.kept import Kept
from app.auth.proofs import Proofs
from domain.access import Actor, Role
from domain.credentials import API_TOKEN_PREFIX
from domain.errors import DatabaseUnavailable, DeadlineExceeded, Unauthenticated
from resolvers.limits.rates import RateLimiter

PROOFS: Final = frozenset({"authorization", "x-grafana-id"})
"""The headers that a proof can come in."""

_Holder = tuple[UUID, UUID | None, Role | None]
"""What rights depend on: the user, the API token or session, and what an issuer says the role is."""

_GRAFANA: Final = b"grafana "
_NO_PROOF: Final = "Say who you are: send a token in the header Authorization: Bearer ..."


class Authenticator(Protocol):
    """Knows who asks."""

    async def identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Actor:
        """Whoever sends a request with these headers (names in lower case).

        Raises Unauthenticated, TooManyRequests, DatabaseUnavailable, DeadlineExceeded.
        """
        ...

    async def current(self, actor: Actor) -> Actor | None:
        """The actor with the rights that they have now, or None where they have none any more. Cheap: ask often."""
        ...

    def doubt(self, user_id: UUID | None) -> None:
        """Believe nothing any more that is known of a user, or of anybody where none is named."""
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

    def doubt(self, user_id: UUID | None) -> None:
        """Nothing is known of anybody."""


class TokenAuthenticator:
    """Whoever asks has to show a token."""

    def __init__(
        self,
        proofs: Proofs,
        *,
        now: Callable[[], datetime],
        kept_seconds: float,
        limiter: RateLimiter | None = None,
    ) -> None:
        """What was found out is believed for `kept_seconds`, where nobody says that it has changed."""
        self._proofs = proofs
        self._limiter = limiter
        self._now = now
        self._takes_grafana = proofs.takes_grafana
        self._identities = Kept[bytes, Identity](kept_seconds)
        self._rights = Kept[_Holder, Actor | None](kept_seconds)

    async def identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Actor:
        """Whoever holds the token of the header Authorization, or whom Grafana asks for (X-Grafana-Id)."""
        given = headers.get(b"authorization")
        if self._takes_grafana and (forwarded := headers.get(b"x-grafana-id")) is not None:
            given = _GRAFANA + forwarded
        known = None if given is None else self._identities.believed(given)
        return (known.value if known is not None else await self._find_out(scope, given)).actor(scope)

    async def current(self, actor: Actor) -> Actor | None:
        """The actor with the rights that they have now, which are read once in a while for all of their streams.

        While the database is away, they are what they were.
        """
        if actor.expires_at is not None and actor.expires_at <= self._now():
            return None
        if actor.id is None:
            return actor
        key = (actor.id, actor.credential_id, actor.vouched_role)  # Tokens of one person may say different roles.
        known = self._rights.believed(key) or await self._rights.ask(key, lambda: self._read_rights(key, actor))
        now = known.value
        if now is None or (now.role, now.scopes) == (actor.role, actor.scopes):
            return None if now is None else actor
        return replace(actor, role=now.role, scopes=now.scopes)

    def doubt(self, user_id: UUID | None) -> None:
        """Ask the database again, about a user or everybody."""
        self._identities.doubt(lambda _, identity: user_id is None or identity.id == user_id)
        self._rights.doubt(lambda key, _: user_id is None or key[0] == user_id)

    async def _find_out(self, scope: Scope, given: bytes | None) -> Identity:
        """Who shows this. Of each address, so many wrong proofs are looked at, and all that were right before.

        An API token that is not known is a guess, and all that is asked of the database is what guesses may ask; other
        proofs that nobody signed are found out without it.
        """
        address = scope["client"][0] if scope.get("client") else None
        try:
            if given is None:
                raise Unauthenticated(_NO_PROOF, is_token_wrong=False)
            if self._limiter is not None and is_api_token(given) and self._identities.latest(given) is None:
                self._limiter.require_patience(address)
            return (await self._identities.ask(given, lambda: self._prove(given))).value
        except Unauthenticated:
            if given is not None:
                self._identities.forget(given)
            if self._limiter is not None:
                self._limiter.count_refusal(address)
            raise

    async def _read_rights(self, key: _Holder, actor: Actor) -> tuple[Actor | None, float]:
        try:
            return await self._proofs.rights(actor), inf
        except (DatabaseUnavailable, DeadlineExceeded):
            known = self._rights.latest(key)
            return (actor if known is None else known.value), inf

    async def _prove(self, given: bytes) -> tuple[Identity, float]:
        """What a proof says, and for how many seconds it holds at most."""
        if given.startswith(_GRAFANA):
            identity = await self._proofs.grafana_identity(_text(given.removeprefix(_GRAFANA)))
        else:
            identity = await self._proofs.identity(bearer_token(given))
        if identity.expires_at is None:
            return identity, inf
        return identity, (identity.expires_at - self._now()).total_seconds()


def is_api_token(header: bytes) -> bool:
    """Whether a header Authorization shows what would be an API token."""
    return header.strip().partition(b" ")[2].lstrip().startswith(API_TOKEN_PREFIX.encode())


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
