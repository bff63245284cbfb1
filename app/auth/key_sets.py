"""The public keys of others who sign tokens (JSON Web Key Set, RFC 7517), as they publish them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, Final

import jwt
import structlog

from app.auth.tokens import Header, Key
from domain.errors import IssuerUnavailable, Unauthenticated
from domain.time import Deadline
from telemetry_clients.errors import TelemetryError
from telemetry_clients.transport import Transport

FRESH_SECONDS: Final = 600.0
"""How old the keys may be before they are fetched again."""

KEPT_SECONDS: Final = 86_400.0
"""How long keys are good that cannot be fetched again."""

COOLDOWN_SECONDS: Final = 10.0
"""How long nothing is fetched after a fetch, whatever tokens ask for."""

_DEADLINE_SECONDS: Final = 5.0
_MOST_KEYS: Final = 100
_LEAST_RSA_BITS: Final = 2048
_ALGORITHMS: Final[Mapping[tuple[str, str | None], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}

log = structlog.get_logger("reliability_studio.sign_in")


class KeySet:
    """The keys that one issuer publishes.

    They are fetched when they are needed, once for all who wait, and never more often than each COOLDOWN_SECONDS:
    tokens with made up key ids cost their issuer nothing. Keys that cannot be fetched again go on being good for a day.
    """

    def __init__(self, fetch: Callable[[], Awaitable[object]], *, clock: Callable[[], float] = monotonic) -> None:
        """`fetch` returns the decoded document, or raises TelemetryError."""
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str | None, Key] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    @classmethod
    def at(cls, transport: Transport) -> "KeySet":
        """The keys that a URL answers with."""

        async def fetch() -> object:
            answer = await transport.get("", deadline=Deadline.after(_DEADLINE_SECONDS))
            if answer.status != 200:
                raise transport.refusal(answer)
            return transport.decode(answer)

        return cls(fetch)

    async def key(self, header: Header) -> Key:
        """The key that a token says it is signed with. Raises Unauthenticated, IssuerUnavailable."""
        found = self._find(header.key_id)
        if found is None and (fetching := self._refresh()) is not None:
            # Shielded: who stops waiting must not end the fetch for the others.
            await asyncio.shield(fetching)
            found = self._find(header.key_id)
        elif self._is_older_than(FRESH_SECONDS):
            self._refresh()  # Nobody waits for it: what is known is good enough meanwhile.
        if self._is_older_than(KEPT_SECONDS):
            raise IssuerUnavailable("The keys that tokens are checked with cannot be had at the moment, try again")
        if found is None:
            raise Unauthenticated("The token is signed with a key that its issuer does not publish")
        return found

    def _find(self, key_id: str | None) -> Key | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _is_older_than(self, seconds: float) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > seconds

    def _refresh(self) -> "asyncio.Task[None] | None":
        """The fetch that is under way, or a new one, or None where it is too early for one."""
        if self._fetching is None:
            if self._tried_at is not None and self._clock() - self._tried_at < COOLDOWN_SECONDS:
                return None
            self._fetching = asyncio.create_task(self._fetch_keys())
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch_keys(self) -> None:
        self._tried_at = self._clock()
        try:
            keys = keys_of(await self._fetch())
        except TelemetryError as error:
            log.warning("the keys of tokens could not be fetched", reason=error.message)
            return
        finally:
            self._tried_at = self._clock()
        if not keys:
            log.warning("there is no key in the key set that tokens could be checked with")
            return
        self._keys, self._fetched_at = keys, self._clock()


def keys_of(document: object) -> dict[str | None, Key]:
    """The keys of a set that sign tokens, by their ids, each for one algorithm; others are left out."""
    listed = document.get("keys") if isinstance(document, dict) else None
    found: dict[str | None, Key] = {}
    for described in (listed if isinstance(listed, list) else [])[:_MOST_KEYS]:
        if isinstance(described, dict) and (key := _key(described)) is not None:
            key_id = described.get("kid")
            found[key_id if isinstance(key_id, str) else None] = key
    return found


def _key(described: dict[str, Any]) -> Key | None:
    """Never a symmetric key: what is published is no secret."""
    kind, curve = described.get("kty"), described.get("crv")
    algorithm = _ALGORITHMS.get((str(kind), None if kind == "RSA" else str(curve)))
    if algorithm is None or described.get("use", "sig") != "sig" or described.get("alg", algorithm) != algorithm:
        return None
    public = {name: value for name, value in described.items() if name in ("kty", "crv", "n", "e", "x", "y")}
    try:
        material = jwt.PyJWK(public, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        log.warning("a key of a key set cannot be read", kid=str(described.get("kid"))[:100])
        return None
    if kind == "RSA" and material.key_size < _LEAST_RSA_BITS:
        log.warning("a key of a key set is too short to be trusted", kid=str(described.get("kid"))[:100])
        return None
    return Key(algorithm, material)
