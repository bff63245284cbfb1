"""Which ports the stack takes: the usual ones, or free ones where somebody has those."""

import socket
from typing import Final

HOST: Final = "127.0.0.1"
USUAL: Final = {
    "backend": 9000,
    "prometheus": 9090,
    "pushgateway": 9091,
    "alertmanager": 9093,
    "loki": 3100,
    "tempo": 3200,
    "otlp": 4318,
    "demo-shop": 8100,
}
IN_A_ROW: Final = {"demo-shop": 7}
"""How many ports from the first one on a service takes, where that is not one."""
_ATTEMPTS: Final = 100


def choose(*, usual: bool) -> dict[str, int]:
    """A port for each service. Without `usual`, or where the usual one is taken, any."""
    chosen: dict[str, int] = {}
    for name, port in USUAL.items():
        count = IN_A_ROW.get(name, 1)
        taken = {*chosen.values()}
        chosen[name] = port if usual and port not in taken and _are_free(port, count) else _any(count, taken)
    return chosen


def _any(count: int, taken: set[int]) -> int:
    for _ in range(_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if not taken & {*range(port, port + count)} and port + count <= 65_536 and _are_free(port, count):
            return port
    raise OSError(f"There are no {count} free ports in a row on {HOST}")


def _are_free(port: int, count: int) -> bool:
    for each in range(port, port + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, each))
            except OSError:
                return False
    return True
