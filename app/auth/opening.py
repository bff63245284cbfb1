"""Everything that signing in needs, opened as the settings say."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_bytes, token_urlsafe
from typing import Final

import structlog

from actions.people import create_user
from actions.sign_in import (
    anybody_has_a_password,
    find_user,
    has_signing_key,
    set_password,
    set_role,
    signing_key,
)
from app.auth.authenticator import Authenticator, Everybody, TokenAuthenticator
from app.auth.key_sets import KeySet
from app.auth.passwords import Passwords
from app.auth.proofs import Issuer, Proofs
from app.auth.roles import GRAFANA_ROLES, RoleClaim
from app.auth.sessions import Lifetimes, Limits, Sessions
from app.auth.tokens import HS256, Expectations, Key
from app.clock import now
from app.security_settings import SecurityVariables
from db.database import Database, Transaction
from domain.access import Actor, Role
from resolvers.limits.rates import RateLimiter
from telemetry_clients.transport import Endpoint, Transport

_KEY_NAME: Final = "access tokens"
_KEY_BYTES: Final = 48
_MOST_KEY_SET_BYTES: Final = 1_048_576
_FIRST_START: Final = Actor(None, "first start", Role.ADMIN)

log = structlog.get_logger("reliability_studio.sign_in")


@dataclass(frozen=True, slots=True)
class SignIn:
    """How it is known who asks, and how people sign in, where they have to."""

    authenticator: Authenticator
    sessions: Sessions | None


@asynccontextmanager
async def open_sign_in(
    settings: SecurityVariables, database: Database, limiter: RateLimiter | None
) -> AsyncGenerator[SignIn]:
    """Signing in as the settings have it; the limiter counts what is refused.

    Raises DatabaseUnavailable, TelemetryNotConfigured.
    """
    if not settings.auth_enabled:
        log.warning("authentication is off: whoever can connect may do everything (AUTH_ENABLED=false)")
        yield SignIn(Everybody(), None)
        return
    own = Key(HS256, await _own_secret(settings, database))
    async with AsyncExitStack() as stack:
        proofs = Proofs(
            database,
            own,
            others=await _others(settings, stack),
            grafana=await _grafana(settings, stack),
            leeway_seconds=settings.jwt_leeway_seconds,
            now=now,
        )
        passwords = Passwords()
        stack.callback(passwords.close)
        lifetimes = Lifetimes(
            access=timedelta(seconds=settings.access_token_seconds), refresh=timedelta(days=settings.refresh_token_days)
        )
        limits = Limits(settings.sign_in_attempts_per_address, settings.sign_in_attempts_per_user)
        sessions = Sessions(database, own, passwords, lifetimes, limits, now=now)
        authenticator = TokenAuthenticator(proofs, now=now, kept_seconds=settings.rights_kept_seconds, limiter=limiter)
        yield SignIn(authenticator, sessions)


async def first_admin(settings: SecurityVariables, database: Database) -> tuple[str, str] | None:
    """At the first start with authentication on, and where nobody could sign in: add an admin.

    Returns their address and password, which nobody can find out later.
    """
    if not settings.auth_enabled:
        return None
    if await database.transact(lambda tx: has_signing_key(tx, _KEY_NAME), now=now()):
        return None  # It has started before.
    password = token_urlsafe(18)
    passwords = Passwords()
    try:
        password_hash = await passwords.hash(password)
    finally:
        passwords.close()

    async def begin(tx: Transaction) -> bool:
        _, is_first = await signing_key(tx, _KEY_NAME, token_bytes(_KEY_BYTES))
        if not is_first or await anybody_has_a_password(tx):
            return False
        known = await find_user(tx, settings.admin_email)
        if known is None:
            id = await create_user(tx, settings.admin_email, "Admin", role=Role.ADMIN, actor=_FIRST_START)
        else:
            id = known.id
            await set_role(tx, id, Role.ADMIN, actor=_FIRST_START)
        await set_password(tx, id, password_hash, actor=_FIRST_START)
        return True

    return (settings.admin_email, password) if await database.transact(begin, now=now()) else None


async def _own_secret(settings: SecurityVariables, database: Database) -> bytes:
    """The secret that signs our access tokens: the one that is set, or one that all servers of the database share."""
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value().encode()
    secret, _ = await database.transact(lambda tx: signing_key(tx, _KEY_NAME, token_bytes(_KEY_BYTES)), now=now())
    return secret


async def _others(settings: SecurityVariables, stack: AsyncExitStack) -> Issuer:
    secret = None if settings.jwt_secret is None else settings.jwt_secret.get_secret_value().encode()
    return Issuer(
        Expectations(*settings.expected_of_others(), settings.jwt_leeway_seconds),
        RoleClaim(settings.jwt_role_claim, settings.jwt_roles, settings.jwt_default_role),
        secret=None if secret is None else Key(HS256, secret),
        keys=await _key_set("the identity provider's keys", settings.jwt_jwks_url, stack),
        create_users=settings.jwt_create_users,
    )


async def _grafana(settings: SecurityVariables, stack: AsyncExitStack) -> Issuer | None:
    keys = await _key_set("Grafana's keys", settings.grafana_signing_keys_url, stack)
    if keys is None:
        return None
    return Issuer(
        Expectations(settings.grafana_token_issuer, settings.grafana_token_audience, settings.jwt_leeway_seconds),
        RoleClaim("role", GRAFANA_ROLES, settings.jwt_default_role),
        keys=keys,
        create_users=settings.jwt_create_users,
        names=("displayName", "username", "name", "email"),
    )


async def _key_set(what: str, url: str | None, stack: AsyncExitStack) -> KeySet | None:
    if url is None:
        return None
    endpoint = Endpoint(backend=what, url=url, max_response_bytes=_MOST_KEY_SET_BYTES, max_connections=2)
    return KeySet.at(await stack.enter_async_context(Transport(endpoint)))
