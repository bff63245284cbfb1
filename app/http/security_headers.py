"""What every answer tells browsers: run nothing of it, show it in no frame, guess nothing, tell nobody where you were.

The explorer's page has a policy of its own (`explorer.py`), and caching where something may be kept; whatever an answer
says by itself stays.
"""

from collections.abc import Iterable
from typing import Final

Headers = tuple[tuple[bytes, bytes], ...]

UNCACHED: Final = (b"cache-control", b"no-store")

SECURITY_HEADERS: Final[Headers] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


def transport_security(seconds: int) -> Headers:
    """What tells browsers to use nothing but HTTPS for so long (RFC 6797); nothing for 0."""
    return ((b"strict-transport-security", b"max-age=%d" % seconds),) if seconds else ()


def completed(given: Iterable[tuple[bytes, bytes]], defaults: Headers) -> Headers:
    """The headers of an answer, and those defaults that it does not have itself."""
    given = tuple(given)
    names = {name.lower() for name, _ in given}
    return (*given, *(header for header in defaults if header[0] not in names))
