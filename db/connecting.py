"""How a connection to Postgres is opened, and which of its errors mean that the database is not there."""

import socket
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg

from domain.errors import DatabaseUnavailable

CONNECT_TIMEOUT_SECONDS = 10.0
IDLE_IN_TRANSACTION_SECONDS = 60.0
OLDEST_MAJOR_VERSION = 15

# What libpq knows and our driver would send to the server as a setting, which refuses it. Defaults do for all of them.
_ONLY_LIBPQ = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "require_auth",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
_SILENCE_SECONDS = 30
"""How long a peer may be silent before the system takes the connection for dead, instead of two hours."""

DRIVER_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Everything that using a connection can end in."""

ConnectionType = TypeVar("ConnectionType", bound=asyncpg.Connection)


def driver_url(url: str) -> str:
    """The URL as the driver wants it. Raises ValueError, with nothing of the URL that may be secret in it."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f'A database URL starts with "postgresql://", not with "{parts.scheme}://"')
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(
            "The database URL cannot be read: write the characters /?#[]@:% in a user name or password as %2F and so on"
        ) from None
    options = {("sslmode" if name == "ssl" else name): value for name, value in parse_qsl(parts.query)}
    query = urlencode({name: value for name, value in options.items() if name not in _ONLY_LIBPQ})
    # Not by urlunsplit, which drops the `//` where no host follows it.
    return f"postgresql://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")


async def open_connection(
    url: str,
    *,
    settings: Mapping[str, str],
    connection_class: type[ConnectionType],
    timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    **options: Any,
) -> ConnectionType:
    """Open a connection with the server settings that all of ours have, and `settings`. Raises DatabaseUnavailable,
    whose `__cause__` is for the operator.
    """
    try:
        connection: ConnectionType = await asyncpg.connect(
            url,
            timeout=timeout_seconds,
            connection_class=connection_class,
            server_settings={
                "application_name": "reliability-studio",
                "timezone": "UTC",
                "idle_in_transaction_session_timeout": milliseconds(IDLE_IN_TRANSACTION_SECONDS),
                **settings,
            },
            **options,
        )
    except DRIVER_ERRORS as error:
        raise DatabaseUnavailable from error
    _watch(connection)
    return connection


def is_lost(error: BaseException) -> bool:
    """Whether a driver's error says that the connection is gone, rather than that a statement failed."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        # Connection exceptions; shutdowns, crashes and start-ups; sessions ended for being idle or too long.
        return state.startswith(("08", "57P")) or state in {"25P03", "25P04"}
    # The driver calls it an internal error when a connection is used between the server's goodbye and its end.
    return isinstance(error, ConnectionError | asyncpg.InternalClientError)


def milliseconds(seconds: float) -> str:
    """A duration as Postgres' settings want it."""
    return str(round(seconds * 1000))


def _watch(connection: asyncpg.Connection) -> None:
    """Let the system find out when the other end is gone without a word (a pulled cable, a forgetful firewall)."""
    end = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # asyncpg does not show its socket
    if end is None or end.family == socket.AF_UNIX:
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {
        "TCP_KEEPIDLE": _SILENCE_SECONDS,
        "TCP_KEEPALIVE": _SILENCE_SECONDS,  # The same on macOS.
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": _SILENCE_SECONDS * 1000,
    }.items():
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
