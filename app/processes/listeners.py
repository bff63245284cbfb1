"""Where workers listen: on one port, of which each has sockets of its own.

With SO_REUSEPORT, Linux gives each new connection to one of the listening sockets by a hash of its addresses. So what
stays open for days is spread evenly, also when a thousand clients come back in the same second, which one socket that
all workers wait on does not do: whoever wakes first accepts all that wait. Other systems share one socket, because the
option means something else there.
"""

import sys
from socket import socket
from typing import Final

from app.server import bind

BALANCES: Final = sys.platform == "linux"
"""Whether each worker gets sockets of its own."""


class Listeners:
    """The port, kept for as long as this is open, and sockets for the workers."""

    def __init__(self, sockets: list[socket]) -> None:
        """`sockets` are bound and listen to nobody yet: proof that nobody else has the port. They become ours."""
        self._kept = sockets
        if BALANCES:
            addresses = [(listener.family, listener.getsockname()) for listener in sockets]
            for listener in sockets:
                listener.close()
            # Bound without ever listening: they get no connections, and nobody else gets the port meanwhile.
            self._kept = [bind(family, address, is_shared=True) for family, address in addresses]

    @property
    def sockets(self) -> list[socket]:
        """Sockets that say where this listens."""
        return self._kept

    def open(self) -> list[socket]:
        """Sockets for one worker, which get connections once somebody listens on them."""
        if not BALANCES:
            return [listener.dup() for listener in self._kept]
        return [bind(listener.family, listener.getsockname(), is_shared=True) for listener in self._kept]

    def close(self) -> None:
        """Give the port back."""
        for listener in self._kept:
            listener.close()
