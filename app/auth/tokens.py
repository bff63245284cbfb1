"""JSON Web Tokens (RFC 7519): what holds, and what it says. Best practice is RFC 8725."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from domain.errors import Unauthenticated

HS256: Final = "HS256"
_REQUIRED: Final = ("exp", "iat", "sub")
_MOST_CHARACTERS: Final = 8192
_MOST_SUBJECT_CHARACTERS: Final = 255  # as OpenID Connect Core, section 2, has it


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the one algorithm that it is for, whatever the header of a token says."""

    algorithm: str
    material: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a token has to say beside being signed. None for what is not looked at."""

    issuer: str | None = None
    audience: str | None = None
    leeway_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of its own signature. Nothing of it is to be believed before it is verified."""

    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says that holds."""

    subject: str
    expires_at: datetime
    all: Mapping[str, Any] = field(repr=False)

    def text(self, name: str) -> str | None:
        """A claim that is a text with something in it, all of which can be printed, stored and told."""
        value = self.all.get(name)
        return value.strip() or None if isinstance(value, str) and value.isprintable() else None


def header_of(token: str) -> Header:
    """Raises Unauthenticated for what is no token."""
    if len(token) > _MOST_CHARACTERS:
        raise Unauthenticated(f"The token has more than {_MOST_CHARACTERS} characters")
    try:
        said = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise Unauthenticated("The token is not a JSON Web Token") from error
    algorithm, key_id = said.get("alg"), said.get("kid")
    if not isinstance(algorithm, str) or not (key_id is None or isinstance(key_id, str)):
        raise Unauthenticated("The token's header is not that of a signed JSON Web Token")
    if "crit" in said:
        raise Unauthenticated("The token's header asks for an extension that is not known here")  # RFC 7515, 4.1.11
    return Header(algorithm, key_id)


def verified(token: str, key: Key, expected: Expectations) -> Claims:
    """What a token says, if this key signed it and it holds now. Raises Unauthenticated."""
    try:
        claims = jwt.decode(
            token,
            key.material,
            algorithms=[key.algorithm],
            issuer=expected.issuer,
            audience=expected.audience,
            leeway=expected.leeway_seconds,
            options={"require": [*_REQUIRED], "verify_aud": expected.audience is not None},
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unauthenticated(_what_is_wrong(error)) from error
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT_CHARACTERS or not subject.isprintable():
        most = _MOST_SUBJECT_CHARACTERS
        raise Unauthenticated(f"The token's sub must be a text of 1 to {most} characters that can be printed")
    try:
        expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Unauthenticated("The token's exp is no time") from error
    return Claims(subject, expires_at, claims)


def signed(claims: Mapping[str, Any], key: Key, key_id: str) -> str:
    """A token of our own."""
    return jwt.encode(dict(claims), key.material, algorithm=key.algorithm, headers={"kid": key_id})


def _what_is_wrong(error: Exception) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "The token has expired"
        case jwt.ImmatureSignatureError():
            return "The token is not valid yet"
        case jwt.InvalidAudienceError():
            return "The token is for another audience"
        case jwt.InvalidIssuerError():
            return "The token is of another issuer"
        case jwt.MissingRequiredClaimError():
            return f"The token has no {error.claim}"
        case jwt.InvalidAlgorithmError():
            return "The token is signed in a way that its key is not for"
        case jwt.InvalidSignatureError():
            return "The token's signature does not hold"
    return "The token does not hold"
