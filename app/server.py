"""The HTTP server: uvicorn on sockets of our own, stopped orderly by a signal."""

import asyncio
import errno
import resource
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from app.certificate import Certificate
from app.protocols import ProtocolConfig

BACKLOG: Final = 2048

_KEEP_ALIVE_SECONDS = 75  # Longer than the usual load balancer keeps an idle connection (60), so that it closes first.
_SILENT_CLIENT_MILLISECONDS = 30_000
_LARGEST_MESSAGE_BYTES = 65_536
_OPEN_FILES = 65_536
_CLOSING_LISTENERS_SECONDS = 0.05
_HANDSHAKE_SECONDS = 1.0
_CLOSING_SECONDS = 2  # What is left of the time to shut down for closing the database.


class CannotListen(Exception):
    """The address cannot be listened on; says why, and what to do."""


class Server(uvicorn.Server):
    """uvicorn, told to stop by `stop`. It would answer a signal by raising it again, and exit with its number."""

    def __init__(
        self,
        application: ASGIApp,
        *,
        certificate: Certificate | None,
        header_timeout_seconds: float,
        shutdown_timeout_seconds: float,
        on_started: Callable[[], None],
        on_stopping: Callable[[], None],
    ) -> None:
        self._on_started = on_started
        self._on_stopping = on_stopping
        graceful_seconds = max(1, round(shutdown_timeout_seconds - _CLOSING_SECONDS))
        super().__init__(
            ProtocolConfig(
                application,
                header_timeout_seconds=header_timeout_seconds,
                ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
                ws_max_size=_LARGEST_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                ws_ping_interval=None,  # The application pings in its own protocol.
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                forwarded_allow_ips="",
                workers=1,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=graceful_seconds,
            )
        )

    def stop(self) -> None:
        """Accept no more, and finish what runs. Called again: stop waiting for it."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections. Raises CannotListen when another process took a port meanwhile."""
        try:
            await super().startup(sockets)
        except OSError as error:
            host, port = (sockets or [])[0].getsockname()[:2]
            raise CannotListen(_why_not(error, host, port)) from error
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what lasts for as long as its client listens (WebSockets with 1012), and let what else runs finish."""
        self._on_stopping()
        await self._stop_listening(sockets or [])
        await super().shutdown(sockets)

    async def _stop_listening(self, listeners: list[socket.socket]) -> None:
        """Close a listener only when nobody waits behind it: they would be reset, connected as far as they can tell."""
        ours = [listener.dup() for listener in listeners]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        await asyncio.sleep(_CLOSING_LISTENERS_SECONDS)  # The event loop closes its own only by and by.
        waiting: list[socket.socket] = []
        for listener in ours:
            waiting += _accept_waiting(listener)
            listener.close()
        await asyncio.gather(*map(self._take_up, waiting))

    async def _take_up(self, connection: socket.socket) -> None:
        """Serve a connection that we have accepted ourselves, as the event loop would have."""
        context = self.config.ssl
        within_seconds = None if context is None else _HANDSHAKE_SECONDS
        with suppress(OSError):  # The client has gone, or speaks no TLS (ssl.SSLError).
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=context, ssl_handshake_timeout=within_seconds
            )

    def _protocol(self) -> asyncio.Protocol:
        """What speaks with a new connection, as uvicorn makes it."""
        return self.config.http_protocol_class(  # type: ignore[call-arg] # as uvicorn itself
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to `on_signal`."""
        yield


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind every address that `host` stands for; 0 takes a free port, the same for all. Raises CannotListen."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotListen(f"{host!r} is not an address of this machine. Choose one with --host.") from error
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        if port == 0 and sockets:
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            sockets.append(bind(family, address))
        except OSError as error:
            # A name may stand for an IPv6 address on a machine without IPv6.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for opened in sockets:
                    opened.close()
                raise CannotListen(_why_not(error, host, port)) from error
            absent = error
    if not sockets:
        raise CannotListen(_why_not(absent or OSError(), host, port)) from absent
    return sockets


def bind(family: int, address: Any, *, is_shared: bool = False) -> socket.socket:
    """A socket with an address, which listens to nobody yet; `is_shared` lets others of the same user have it too."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform == "linux":
            # Accepted connections inherit it. Without it, a client that stops reading is kept for a quarter of an hour.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_CLIENT_MILLISECONDS)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def allow_many_connections() -> None:
    """Let the process have as many files open as it may: by default it is a quarter of a thousand to a thousand."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if usual < _OPEN_FILES:
        wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@contextmanager
def on_signal(stop: Callable[[], None], *, hang_up: Callable[[], None] | None = None) -> Generator[None]:
    """Call `stop` on SIGINT and SIGTERM, and `hang_up` on SIGHUP, in the running event loop."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop}
    if hang_up is not None:
        handlers[signal.SIGHUP] = hang_up
    for number, handle in handlers.items():
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _accept_waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that nobody has accepted yet."""
    listener.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _why_not(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} of {host} is in use. Stop what uses it, or choose another one with --port."
        case errno.EACCES | errno.EPERM:
            return f"Port {port} needs more rights. Choose one from 1024 on with --port."
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine. Choose one with --host."
    return f"{host} port {port} cannot be listened on: {error.strerror}."
