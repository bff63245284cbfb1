"""What passwords and tokens look like."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Final

from domain.access import Actor, TokenScope
from domain.errors import Forbidden, ValidationFailed

API_TOKEN_PREFIX: Final = "rs_"  # noqa: S105  # what tokens begin with, so that scanners find those that leak
REFRESH_TOKEN_PREFIX: Final = "rsr_"  # noqa: S105  # as above
SECRET_BYTES: Final = 32
LEAST_PASSWORD_CHARACTERS: Final = 12
MOST_PASSWORD_CHARACTERS: Final = 1024
MOST_TOKEN_DAYS: Final = 3650


def digest(secret: str) -> bytes:
    """What is stored of a token. It is as random as a key, so that one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_password(value: object, *path: str) -> str:
    """A password that may be chosen: length is what counts (NIST SP 800-63B-4, 3.1.1). Raises ValidationFailed."""
    if not isinstance(value, str) or len(value) < LEAST_PASSWORD_CHARACTERS:
        raise ValidationFailed(f"A password has {LEAST_PASSWORD_CHARACTERS} characters or more", path)
    if len(value) > MOST_PASSWORD_CHARACTERS:
        raise ValidationFailed(f"A password has {MOST_PASSWORD_CHARACTERS} characters at most", path)
    if len(set(value)) < 5:
        raise ValidationFailed("This password is the same few characters again and again: choose another", path)
    return value


def token_scopes(wanted: Sequence[TokenScope], *path: str) -> list[TokenScope]:
    """The scopes of a token, each once, in their order. Raises ValidationFailed where there is none."""
    if not wanted:
        raise ValidationFailed("A token needs a scope: say what it is for", path)
    return [scope for scope in TokenScope if scope in set(wanted)]


def require_may_hand_on(actor: Actor, scopes: Sequence[TokenScope], expires_at: datetime | None) -> None:
    """Raise Forbidden where a token would make tokens that may do more than it does itself, or for longer."""
    if actor.scopes is None:
        return
    if actor.expires_at is not None and (expires_at is None or expires_at > actor.expires_at):
        raise Forbidden("Your token expires itself, so it cannot make one that is good for longer (`expiresInDays`)")
    if missing := [scope.value for scope in scopes if scope not in actor.scopes]:
        raise Forbidden(f"Your token does not have the scope {missing[0]} itself, so it cannot hand it on")


def network(address: str | None) -> str:
    """The address that attempts are counted for: of IPv6 the network, whose other addresses one client has as well."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)
