"""Signing in with a password: short-lived access tokens, and refresh tokens that are good once.

Nobody learns here who has an account: whatever is wrong, the answer and the time that it takes are the same. Attempts
are counted by address, and by address and user together, and never by user alone, which would let anybody lock others
out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Final

from actions import sign_in as actions
from actions.sign_in import Session, SignInUser
from app.auth.passwords import Passwords
from app.auth.tokens import Key, signed
from db.database import Database, Transaction
from domain.access import Actor, Role
from domain.credentials import REFRESH_TOKEN_PREFIX, SECRET_BYTES, digest, network, new_password
from domain.errors import TooManyRequests, Unauthenticated, ValidationFailed
from domain.limits import NAME_CHARACTERS

ISSUER: Final = "reliability-studio"
KEY_ID: Final = "reliability-studio"

_WRONG: Final = "The email or the password is wrong"
_ENDED: Final = "The session has ended: sign in again"
_MOST_PASSWORD_CHARACTERS: Final = 1024
_MOST_COMPARISONS: Final = 2  # The second is for a hash that was replaced while the first was compared.


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long tokens are good."""

    access: timedelta
    refresh: timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """How many attempts there are in five minutes."""

    by_address: int
    by_address_and_user: int


class Sessions:
    """Begins, continues and ends sessions."""

    def __init__(
        self,
        database: Database,
        key: Key,
        passwords: Passwords,
        lifetimes: Lifetimes,
        limits: Limits,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._key = key
        self._passwords = passwords
        self._lifetimes = lifetimes
        self._limits = limits
        self._now = now

    async def sign_in(self, email: str, password: str, *, asker: Actor) -> dict[str, Any]:
        """The tokens of a new session. Raises Unauthenticated, TooManyRequests, DatabaseUnavailable."""
        now = self._now()
        keys = self._throttles(asker.address, email)
        await self._count(keys, now)
        email, password = email[:NAME_CHARACTERS], password[:_MOST_PASSWORD_CHARACTERS]

        user: SignInUser | None = None
        for _ in range(_MOST_COMPARISONS):
            user = await self._database.transact(lambda tx: actions.find_user(tx, email), now=now)
            matches, better_hash = await self._passwords.matches(None if user is None else user.password_hash, password)
            if user is None or not matches or not user.is_active:
                break
            secret = new_refresh_token()
            session = await self._start(user, secret, better_hash, [*keys], now, asker)
            if session is not None:
                return self._tokens(session, secret, now)
        known = None if user is None else user.id
        await self._database.transact(lambda tx: actions.fail(tx, known, actor=asker), now=now)
        raise Unauthenticated(_WRONG, is_token_wrong=False)

    async def refresh(self, refresh_token: str, *, asker: Actor) -> dict[str, Any]:
        """The next tokens of a session. Raises Unauthenticated, DatabaseUnavailable."""
        now = self._now()
        secret = new_refresh_token()

        async def exchange(tx: Transaction) -> Session | None:
            return await actions.continue_session(
                tx,
                digest(refresh_token),
                digest(secret),
                expires_at=now + self._lifetimes.refresh,
                actor=asker,
            )

        session = await self._database.transact(exchange, now=now)
        if session is None:
            raise Unauthenticated(_ENDED)
        return self._tokens(session, secret, now)

    async def sign_out(self, refresh_token: str | None, *, asker: Actor) -> None:
        """End the session of a refresh token, or else that of whoever asks. Raises DatabaseUnavailable."""

        async def end(tx: Transaction) -> None:
            session_id = asker.credential_id if asker.scopes is None else None
            actor = asker
            if refresh_token is not None:
                found = await actions.session_of(tx, digest(refresh_token))
                session_id = None if found is None else found["family_id"]
                if found is not None and actor.id is None:
                    user = await actions.user_of(tx, found["user_id"])
                    actor = Actor(user["id"], user["name"], user["role"], asker.request_id, asker.address)
            if session_id is not None:
                await actions.end_session(tx, session_id, actor=actor)

        await self._database.transact(end, now=self._now())

    async def change_password(self, known: str, wanted: object, *, actor: Actor) -> None:
        """Change one's own password, and end one's other sessions.

        Raises ValidationFailed (also where the present one is wrong), TooManyRequests, DatabaseUnavailable.
        """
        now = self._now()
        if actor.id is None or actor.scopes is not None:
            raise ValidationFailed("Only who has signed in with a password has one to change")
        user_id = actor.id
        keys = self._throttles(actor.address, str(user_id))
        await self._count(keys, now)
        password = new_password(wanted, "new_password")

        async def find(tx: Transaction) -> str | None:
            user = await actions.user_of(tx, user_id)
            known_hash: str | None = user["password_hash"]
            return known_hash

        matches, _ = await self._passwords.matches(await self._database.transact(find, now=now), known)
        if not matches:
            await self._database.transact(lambda tx: actions.fail_to_change_password(tx, user_id, actor=actor), now=now)
            raise ValidationFailed("The present password is wrong", ("current_password",))
        new_hash = await self._passwords.hash(password)

        async def change(tx: Transaction) -> None:
            await actions.forget_attempts(tx, [*keys])
            await actions.set_password(tx, user_id, new_hash, actor=actor, keep=actor.credential_id)

        await self._database.transact(change, now=now)

    async def _start(
        self,
        user: SignInUser,
        secret: str,
        better_hash: str | None,
        attempts: list[bytes],
        now: datetime,
        asker: Actor,
    ) -> Session | None:
        actor = Actor(user.id, user.name, user.role, asker.request_id, asker.address)

        async def start(tx: Transaction) -> Session | None:
            expires_at = now + self._lifetimes.refresh
            hashed = digest(secret)
            session = await actions.start_session(
                tx, user, hashed, expires_at=expires_at, new_hash=better_hash, actor=actor
            )
            if session is not None:
                await actions.forget_attempts(tx, attempts)
            return session

        return await self._database.transact(start, now=now)

    async def _count(self, keys: dict[bytes, int], now: datetime) -> None:
        blocked_seconds = await self._database.transact(lambda tx: actions.count_attempt(tx, keys), now=now)
        if blocked_seconds > 0:
            raise TooManyRequests(
                f"Too many attempts from here: try again in {blocked_seconds:.0f} s",
                limit="sign-ins",
                retry_after_seconds=blocked_seconds,
            )

    def _throttles(self, address: str | None, user: str) -> dict[bytes, int]:
        place = network(address)
        return {
            _hash(place): self._limits.by_address,
            _hash(place, user.lower()): self._limits.by_address_and_user,
        }

    def _tokens(self, session: Session, refresh_token: str, now: datetime) -> dict[str, Any]:
        """An answer as of OAuth 2.0 (RFC 6749, section 5.1)."""
        expires_at = now + self._lifetimes.access
        claims = {
            "iss": ISSUER,
            "sub": str(session.user_id),
            "sid": str(session.id),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        return {
            "access_token": signed(claims, self._key, KEY_ID),
            "token_type": "Bearer",
            "expires_in": int(self._lifetimes.access.total_seconds()),
            "refresh_token": refresh_token,
            "refresh_expires_in": int(self._lifetimes.refresh.total_seconds()),
            "user": {"id": str(session.user_id), "name": session.name, "role": session.role.value},
        }


def new_refresh_token() -> str:
    """A secret that nobody can guess."""
    return REFRESH_TOKEN_PREFIX + token_urlsafe(SECRET_BYTES)


def anonymous(request_id: str | None, address: str | None) -> Actor:
    """Somebody who has not proven yet who they are."""
    return Actor(None, "anonymous", Role.VIEWER, request_id, address)


def _hash(*parts: str) -> bytes:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
