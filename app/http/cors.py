"""Which web pages of other origins may call us (the CORS protocol of the Fetch standard). No cookies are involved."""

from collections.abc import Sequence

from app.http.answer import Answer

_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PATCH"),
    (
        b"access-control-allow-headers",
        b"Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Read-After, X-Request-Id",
    ),
    (b"access-control-max-age", b"600"),
    (b"vary", b"Origin"),
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

    def preflight(self) -> Answer:
        """The answer to a browser that asks before it sends. Without `headers`, the browser will not send."""
        return Answer(200, _PREFLIGHT, b"")
