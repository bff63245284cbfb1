"""The sockets that the server listens on, and those who wait behind them as it stops."""

import asyncio
import socket
import ssl
import sys
from pathlib import Path

import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.certificate import Certificate
from app.server import Server, listen

ASK = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def answer(_request: Request) -> Response:
    return PlainTextResponse("well")


def test_every_address_of_a_name_gets_the_same_free_port() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({listener.getsockname()[1] for listener in sockets}) == 1
    finally:
        for listener in sockets:
            listener.close()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
def test_connections_of_clients_that_stop_reading_are_dropped_after_half_a_minute() -> None:
    (listener,) = listen("127.0.0.1", 0)
    with listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["http", "https"])
async def test_who_has_connected_just_before_it_stops_is_answered(tmp_path: Path, is_encrypted: bool) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    listeners = listen("127.0.0.1", 0)
    address = listeners[0].getsockname()
    waiting: list[socket.socket] = []
    started, stopping = asyncio.Event(), asyncio.Event()

    def connect_without_being_accepted() -> None:
        """The event loop accepts nobody while this runs, and nobody after it."""
        waiting.extend(socket.create_connection(address) for _ in range(3))
        stopping.set()

    server = Server(
        Starlette(routes=[Route("/", answer)]),
        certificate=Certificate(tmp_path / "server.pem", None) if is_encrypted else None,
        header_timeout_seconds=5,
        shutdown_timeout_seconds=5,
        on_started=started.set,
        on_stopping=connect_without_being_accepted,
    )
    serving = asyncio.create_task(server.serve(listeners))
    await started.wait()

    async def ask(connection: socket.socket) -> bytes:
        reader, writer = await asyncio.open_connection(
            sock=connection,
            ssl=trusting if is_encrypted else None,
            server_hostname="127.0.0.1" if is_encrypted else None,
        )
        writer.write(ASK)
        try:
            return await reader.readuntil(b"well")
        finally:
            writer.close()

    server.stop()
    await stopping.wait()
    answers = await asyncio.gather(*map(ask, waiting))
    await serving

    assert [each.split(b"\r\n")[0] for each in answers] == [b"HTTP/1.1 200 OK"] * 3
