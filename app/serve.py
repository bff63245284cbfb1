"""The life of a server: bring up what it needs, serve, and take it all down again."""

import asyncio
import gc
from socket import socket

import structlog
from rich.markup import escape
from rich.table import Table

from app.asgi import application
from app.http import graphql
from app.observability.exporters import Exporters
from app.observability.logs import RequestLog
from app.postgres import add_first_admin, load_demo, migrate, postgres
from app.server import Server, allow_many_connections, on_signal
from app.settings import Settings
from app.terminal import console
from app.version import VERSION

log = structlog.get_logger()


async def serve(
    settings: Settings, sockets: list[socket], log_request: RequestLog, exporters: Exporters, *, with_demo: bool
) -> None:
    """Serve on bound sockets until SIGINT or SIGTERM. Raises what `app.failures` explains."""
    allow_many_connections()
    starting = asyncio.current_task()
    server: Server | None = None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        if server is not None:
            server.stop()
        elif starting is not None:
            starting.cancel()

    with on_signal(stop):
        try:
            async with postgres(settings) as found:
                await migrate(found.url)
                if with_demo:
                    await load_demo(settings, found.url)
                admin = await add_first_admin(settings, found.url)
                async with application(settings, found.url, log_request=log_request, exporters=exporters) as app:
                    server = Server(
                        app,
                        header_timeout_seconds=settings.header_timeout_seconds,
                        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
                        on_started=lambda: _announce(settings, sockets, found.description, admin),
                        on_stopping=app.end_streams,
                    )
                    # What lives as long as the process need not be looked at by every garbage collection.
                    gc.collect()
                    gc.freeze()
                    await server.serve(sockets)
                    log.info("stopping")
        except asyncio.CancelledError:
            if not is_stopping:
                raise
    log.info("stopped")


def _announce(settings: Settings, sockets: list[socket], database: str, admin: tuple[str, str] | None) -> None:
    host, port = sockets[0].getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 # compared
    url = f"http://{shown}:{port}"
    log.info("serving", url=url, version=VERSION)
    console.print(f"\n[bold]Reliability Studio {VERSION}[/] is ready. Open [bold]{url}{graphql.PATH}[/]\n")
    table = Table.grid(padding=(0, 3))
    table.add_row("  GraphQL", f"{url}{graphql.PATH}")
    table.add_row("  REST", f"{url}/api/incidents")
    table.add_row("  Health", f"{url}/api/health")
    table.add_row("  Data", escape(database))
    console.print(table)
    if admin is not None:
        email, password = admin
        console.print(
            f"\nSign in as [bold]{escape(email)}[/] with the password [bold]{escape(password)}[/]\n"
            "It is shown this once. To set another: reliability-studio user set-password " + escape(email)
        )
    if not settings.auth_enabled:
        console.print(
            "\n[bold red]Authentication is off (AUTH_ENABLED=false): whoever can connect may do everything.[/]"
        )
    console.print("\nStop with Ctrl-C.")
