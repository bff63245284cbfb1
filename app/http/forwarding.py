"""Who asks, where proxies stand between: what trusted ones say of the client's address and of its scheme.

Every proxy appends the address that it was called from to `X-Forwarded-For`. Read from the right, the first address
that is none of our own proxies is the client's; whatever stands left of it, anybody may have written.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.types import Scope

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_ENCRYPTED: Final = {"http": "https", "ws": "wss"}
_PLAIN: Final = {"https": "http", "wss": "ws"}


class TrustedProxies:
    """The networks of the proxies that are believed."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)
        self._is_trusted = lru_cache(maxsize=1024)(self._contains)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def correct(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Put the client that a trusted proxy speaks for in place of the proxy, and the scheme that it used."""
        peer = _address(scope["client"][0]) if scope.get("client") else None
        if peer is None or not self._is_trusted(peer):
            return
        if (forwarded := headers.get(_FOR)) is not None:
            scope["client"] = (str(self._client(peer, forwarded)), 0)
        scheme = headers.get(_PROTO, b"").rpartition(b",")[2].strip().lower()
        if scheme in (b"https", b"wss"):
            scope["scheme"] = _ENCRYPTED.get(scope["scheme"], scope["scheme"])
        elif scheme in (b"http", b"ws"):
            scope["scheme"] = _PLAIN.get(scope["scheme"], scope["scheme"])

    def _client(self, peer: Address, forwarded: bytes) -> Address:
        client = peer
        for entry in reversed(forwarded.split(b",")):
            address = _address(entry.strip().decode("latin-1"))
            if address is None:
                break  # Beyond what cannot be read, nothing is known.
            client = address
            if not self._is_trusted(address):
                break
        return client

    def _contains(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """An address, as proxies write it: with or without a port, IPv6 in brackets or not."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
