"""A TLS server that wants a client certificate, and says so in an alert. asyncio's servers only hang up."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def demanding_server(context: ssl.SSLContext, answer: bytes) -> Iterator[str]:
    """Serve one answer a connection to those whose certificate `context` trusts; yields the URL."""
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the listener was closed
            with connection:
                connection.settimeout(5)
                _converse(context, connection, answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield "https://{}:{}".format(*listener.getsockname())
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _converse(context: ssl.SSLContext, connection: socket.socket, answer: bytes) -> None:
    talk = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    try:
        talk.do_handshake()
    except ssl.SSLError:
        # The alert is sent. Closing with something unread would reset the connection, and the alert could be lost.
        with socket.socket(fileno=talk.detach()) as raw, contextlib.suppress(OSError):
            raw.settimeout(5)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass
        return
    with talk:
        talk.recv(65536)
        talk.sendall(answer)
