"""Which web pages of other origins may call us (the CORS protocol of the Fetch standard). No cookies are involved.

Browsers send *simple* requests of any page without asking us first: that is how pages make them do things that their
users never wanted (CSRF). A POST here is never simple, because it has to be JSON. A GET is, unless it brings a header
that no page can add before its browser has asked us.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from app.http.answer import Answer
from app.http.negotiation import is_json

PREFLIGHT_HEADER: Final = "GraphQL-Require-Preflight"

_PREFLIGHT_HEADERS: Final = (
    PREFLIGHT_HEADER.lower().encode(),
    b"apollo-require-preflight",
    b"x-apollo-operation-name",
    b"x-requested-with",
)

_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PATCH"),
    (
        b"access-control-allow-headers",
        b"Accept, Apollo-Require-Preflight, Authorization, Content-Type, GraphQL-Require-Preflight, Idempotency-Key, "
        b"Last-Event-ID, X-Apollo-Operation-Name, X-Read-After, X-Request-Id, X-Requested-With",
    ),
    (b"access-control-max-age", b"600"),
)
_EXPOSED = (b"access-control-expose-headers", b"X-Read-After, X-Request-Id, X-Total-Count")
_VARY = (b"vary", b"Origin")


class AllowedOrigins:
    """The origins that a setting names; `*` is every one."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """What lets the page of an origin read an answer; nothing for origins that may not."""
        if self._any:
            return ((b"access-control-allow-origin", b"*"), _EXPOSED)
        if origin.lower() in self._origins:
            return ((b"access-control-allow-origin", origin), _EXPOSED, _VARY)
        return (_VARY,) if self._origins else ()

    def allow_socket(self, origin: bytes, *, host: bytes) -> bool:
        """Whether a page of an origin may open a WebSocket here, before which browsers ask nobody."""
        origin = origin.lower()
        return self._any or origin in self._origins or origin.partition(b"://")[2] == host.lower()

    def may_ask_unasked(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether no foreign page can have sent a request with these headers without being allowed to.

        A browser says by itself when a request comes from our own page, which no page can pretend (Fetch Metadata), and
        its EventSource, which can add no header, of which page it is.
        """
        return (
            any(headers.get(name) for name in _PREFLIGHT_HEADERS)
            or headers.get(b"sec-fetch-site") == b"same-origin"
            or headers.get(b"authorization", b"")[:7].lower() == b"bearer "  # Browsers add other schemes by themselves.
            or is_json(headers.get(b"content-type", b""))
            or ((origin := headers.get(b"origin")) is not None and (self._any or origin.lower() in self._origins))
        )

    def preflight(self) -> Answer:
        """The answer to a browser that asks before it sends. Without `headers`, the browser will not send."""
        return Answer(200, _PREFLIGHT, b"")
