"""What is answered without asking who wants to know. Everything else takes a proof."""

from typing import Final

_OPEN: Final = frozenset(
    {
        "/",  # leads to the explorer
        "/graphql",  # the explorer's page: the endpoint itself is no page, and asks for a proof
        "/health",
        "/api/health",
        "/metrics",  # has a token of its own, if any
        "/api/auth/login",
        "/api/auth/refresh",
        "/api/auth/logout",  # takes a refresh token, or asks for a proof itself
        "/v2/enqueue",  # webhooks have tokens of their own, and ask for them
    }
)
_OPEN_BELOW: Final = ("/graphql/assets/", "/api/webhooks/")


def is_open(path: str) -> bool:
    """Whether a path is open to everybody."""
    return path in _OPEN or path.startswith(_OPEN_BELOW)
