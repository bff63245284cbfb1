"""Under which names we answer.

Where nobody has to prove who they are, a page of any origin could have its own name come to mean 127.0.0.1 (DNS
rebinding): its browser then takes us for a part of it. The header Host still says which name the page went by.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from app.http.answer import Answer, error_answer

_ANYBODY_MAY_KNOW: Final = frozenset({"/health", "/api/health", "/metrics"})
"""What probes ask for by whatever address a machine has."""


class AllowedHosts:
    """The names that a setting lists, `*.` before one for all below it, beside those of this machine for itself."""

    def __init__(self, names: Sequence[str]) -> None:
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._below = tuple(name.removeprefix("*") for name in names if name.startswith("*."))
        # Clients send the same few over and over, and anybody may send others.
        self._is_allowed = lru_cache(maxsize=1024)(self._matches)

    def allow(self, path: str, host: bytes | None) -> bool:
        """Whether a request for this path may name this host. Who names none is no browser."""
        return host is None or self._is_allowed(host) or path in _ANYBODY_MAY_KNOW

    def _matches(self, host: bytes) -> bool:
        name = _without_port(host.decode("latin-1").strip().lower())
        return name in self._exact or is_own_name(name) or name.endswith(self._below)


def refuse_host(host: bytes | None) -> tuple[int, str]:
    """The status and the words for who came by another name (RFC 9110, section 15.5.20)."""
    name = (host or b"").decode("latin-1")[:100]
    return (
        421,
        f"Nothing is answered by the name {name!r} here: whoever runs this server can add it to ALLOWED_HOSTS",
    )


def misdirected(host: bytes | None) -> Answer:
    """The same as an answer."""
    return error_answer(*refuse_host(host))


def is_own_name(name: str) -> bool:
    """Whether a name means this machine on every machine (RFC 6761, section 6.3)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")
