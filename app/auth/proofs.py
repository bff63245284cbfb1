"""What counts as a proof of who somebody is: our own access tokens, API tokens, tokens of others, and Grafana's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from actions.api_tokens import mark_used
from actions.people import create_user
from app.auth.identity import Identity
from app.auth.key_sets import KeySet
from app.auth.people import People, Person
from app.auth.roles import RoleClaim
from app.auth.sessions import ISSUER, KEY_ID
from app.auth.tokens import HS256, Claims, Expectations, Key, header_of, verified
from db.database import Database
from domain.access import Actor, Role
from domain.credentials import API_TOKEN_PREFIX, digest
from domain.errors import Conflict, DomainError, Unauthenticated, ValidationFailed
from domain.references import parse_id

_REMEMBERED: Final = timedelta(minutes=1)  # how exactly it is known when a token was used last
_MOST_ISSUER_CHARACTERS: Final = 500
_NOBODY: Final = "The proof is of somebody who may not come in any more"
_SIGN_IN: Final = Actor(None, "sign-in", Role.ADMIN)

log = structlog.get_logger("reliability_studio.sign_in")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Others whose tokens are taken: what the tokens have to say, and which of their claims is the role."""

    expected: Expectations
    role: RoleClaim
    secret: Key | None = None
    keys: KeySet | None = None
    create_users: bool = False
    names: tuple[str, ...] = field(default=("name", "preferred_username", "email"))


class Proofs:
    """Reads proofs."""

    def __init__(
        self,
        database: Database,
        own: Key,
        *,
        others: Issuer,
        grafana: Issuer | None,
        leeway_seconds: float,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._people = People(database)
        self._own = own
        self._others = others
        self._grafana = grafana
        self._expected = Expectations(ISSUER, None, leeway_seconds)
        self._now = now

    @property
    def takes_grafana(self) -> bool:
        """Whether Grafana vouches for its users."""
        return self._grafana is not None

    async def identity(self, token: str) -> Identity:
        """Whose token this is. Raises Unauthenticated, IssuerUnavailable, DatabaseUnavailable, DeadlineExceeded."""
        if token.startswith(API_TOKEN_PREFIX):
            return await self._machine(token)
        header = header_of(token)
        if header.key_id == KEY_ID:
            return await self._session(verified(token, self._own, self._expected))
        others = self._others
        if others.secret is not None and header.algorithm == HS256:
            return await self._stranger(verified(token, others.secret, others.expected), others)
        if others.keys is None:
            raise Unauthenticated("Tokens that are signed this way are not taken here")
        key = await others.keys.key(header)
        return await self._stranger(verified(token, key, others.expected), others)

    async def grafana_identity(self, token: str) -> Identity:
        """Which user of Grafana's this is, by the id token that Grafana forwards. Raises as `identity` does."""
        if self._grafana is None or self._grafana.keys is None:
            raise Unauthenticated("Grafana does not vouch for anybody here")
        key = await self._grafana.keys.key(header_of(token))
        return await self._stranger(verified(token, key, self._grafana.expected), self._grafana)

    async def rights(self, actor: Actor) -> Actor | None:
        """A user with the rights that they have now, None where they have none."""
        if actor.id is None:
            return actor
        person = await self._people.rights(actor.id, actor.credential_id)
        if person is None or not person.is_active:
            return None
        role = actor.vouched_role or person.role  # What a token says holds for as long as the token.
        if (actor.role, actor.scopes) == (role, person.scopes):
            return actor
        return replace(actor, role=role, scopes=person.scopes)

    async def _machine(self, secret: str) -> Identity:
        found = await self._people.token(digest(secret))
        now = self._now()
        if found is None or found.revoked_at is not None or not found.owner.is_active:
            raise Unauthenticated("There is no such API token, or it was revoked")
        if found.expires_at is not None and found.expires_at <= now:
            raise Unauthenticated("The API token has expired")
        if found.last_used_at is None or now - found.last_used_at >= _REMEMBERED:
            await self._mark_used(found.id)
        owner = found.owner
        name = f"{owner.name} ({found.name})"
        return Identity(owner.id, name, owner.role, owner.scopes, found.expires_at, found.id)

    async def _mark_used(self, id: UUID) -> None:
        try:
            await self._database.transact(lambda tx: mark_used(tx, id), now=self._now())
        except DomainError as error:
            log.warning("when a token was used last could not be stored", reason=error.code)

    async def _session(self, claims: Claims) -> Identity:
        user_id, session_id = parse_id(claims.subject), parse_id(claims.text("sid") or "")
        if user_id is None or session_id is None:
            raise Unauthenticated("The token is none of ours")
        person = await self._people.of_session(user_id, session_id)
        if person is None or not person.is_active:
            raise Unauthenticated("The session has ended: sign in again")
        return Identity(person.id, person.name, person.role, None, claims.expires_at, session_id)

    async def _stranger(self, claims: Claims, issuer: Issuer) -> Identity:
        """Somebody whom others vouch for: the user with their address, where there is one."""
        email = _email(claims)
        person = None if email is None else await self._people.with_email(email)
        name = next((said for claim in issuer.names if (said := claims.text(claim))), claims.subject)
        said_role = issuer.role.of(claims.all)
        role = said_role or (issuer.role.default if person is None else person.role)
        if role is None:
            raise Unauthenticated("The token says no role that is known here")
        if person is None and email is not None and issuer.create_users:
            person = await self._create(email, name, role)
        if person is not None and not person.is_active:
            raise Unauthenticated(_NOBODY)
        if person is None:
            return Identity(None, name[:200], role, None, claims.expires_at, subject=_subject(claims))
        return Identity(person.id, person.name, role, None, claims.expires_at, vouched_role=said_role)

    async def _create(self, email: str, name: str, role: Role) -> Person | None:
        try:
            await self._database.transact(
                lambda tx: create_user(tx, email, name[:200], role=role, actor=_SIGN_IN), now=self._now()
            )
        except (Conflict, ValidationFailed) as error:
            log.warning("a user could not be added", reason=error.message)
        return await self._people.with_email(email)


def _subject(claims: Claims) -> str:
    """Issuer and subject: the name that people go by is none of theirs alone, and their issuers let them choose it."""
    issuer = claims.text("iss")
    return claims.subject if issuer is None else f"{issuer[:_MOST_ISSUER_CHARACTERS]} {claims.subject}"


def _email(claims: Claims) -> str | None:
    """The address that an issuer vouches for."""
    said: Mapping[str, object] = claims.all
    if (email := claims.text("email")) is not None:
        return email if said.get("email_verified", True) in (True, "true") else None
    return claims.subject if "@" in claims.subject else None
