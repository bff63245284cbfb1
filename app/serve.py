"""The life of a server: bring up what it needs, serve, and take it all down again."""

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from socket import socket
from typing import Final

import structlog
from rich.markup import escape
from rich.table import Table

from app.asgi import application
from app.background import in_background
from app.certificate import Certificate
from app.http import graphql
from app.observability.exporters import Exporters
from app.observability.fleet import Fleet
from app.observability.logs import RequestLog
from app.postgres import Postgres, add_first_admin, load_demo, migrate, postgres
from app.processes.channel import Staffing
from app.processes.listeners import Listeners
from app.processes.supervisor import Supervisor
from app.processes.worker import Colleagues, supervised
from app.server import Server, allow_many_connections, on_signal
from app.settings import Settings
from app.terminal import console
from app.version import VERSION

log = structlog.get_logger()

SWITCH_SECONDS: Final = 0.0005
"""How long a thread that computes lets the event loop wait: a tenth of Python's default, which each of the many turns
that answering a request takes may have to wait for.
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A database that is ready, and the address and the password of the admin whom it has just got."""

    database: Postgres
    admin: tuple[str, str] | None = None


async def serve(
    settings: Settings,
    sockets: list[socket],
    log_request: RequestLog,
    exporters: Exporters,
    *,
    certificate: Certificate | None,
    with_demo: bool,
) -> None:
    """Serve on bound sockets until SIGINT or SIGTERM. Raises what `app.failures` explains."""
    await _run(
        settings,
        _prepared(settings, with_demo=with_demo),
        sockets,
        log_request,
        exporters,
        certificate=certificate,
        on_started=lambda prepared: _announce(settings, sockets, prepared),
    )


async def supervise(settings: Settings, sockets: list[socket], command: Sequence[str], *, with_demo: bool) -> None:
    """Serve with several processes until SIGINT or SIGTERM, and replace them on SIGHUP.

    `command` starts one of them. Raises what `app.failures` explains, and WorkersDoNotStart.
    """
    listeners = Listeners(sockets)
    starting = asyncio.current_task()
    supervisor: Supervisor | None = None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        if supervisor is not None:
            supervisor.stop()
        elif starting is not None:
            starting.cancel()

    def replace_all() -> None:
        if supervisor is not None:
            supervisor.replace_all()

    try:
        with on_signal(stop, hang_up=replace_all):
            async with _prepared(settings, with_demo=with_demo) as prepared:
                at = () if settings.postgres_url() else ("--embedded-postgres", prepared.database.url)
                supervisor = Supervisor(
                    listeners,
                    (*command, *at),
                    count=settings.workers,
                    shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
                )
                await supervisor.start()
                if not is_stopping:
                    _announce(settings, listeners.sockets, prepared)
                await supervisor.run()
    except asyncio.CancelledError:
        if not is_stopping:
            raise
    finally:
        listeners.close()
    log.info("stopped")


async def work(
    settings: Settings,
    sockets: list[socket],
    channel: socket,
    log_request: RequestLog,
    exporters: Exporters,
    *,
    certificate: Certificate | None,
    count: int,
    fleet: Fleet,
    database_url: str,
) -> None:
    """Serve as one of several processes, whose supervisor has brought up what they share. Raises as `serve` does."""
    colleagues = Colleagues(Staffing(count, count))
    async with supervised(channel, colleagues) as supervisor:
        await _run(
            settings,
            nullcontext(Prepared(Postgres(database_url, ""))),
            sockets,
            log_request,
            exporters,
            certificate=certificate,
            on_started=lambda _: supervisor.tell_ready(),
            fleet=fleet,
            colleagues=colleagues,
        )


@asynccontextmanager
async def _prepared(settings: Settings, *, with_demo: bool) -> AsyncGenerator[Prepared]:
    """The database, with the tables of this version, and somebody who can sign in."""
    async with postgres(settings) as found:
        await migrate(found.url)
        if with_demo:
            await load_demo(settings, found.url)
        yield Prepared(found, await add_first_admin(settings, found.url))


async def _run(
    settings: Settings,
    database: AbstractAsyncContextManager[Prepared],
    sockets: list[socket],
    log_request: RequestLog,
    exporters: Exporters,
    *,
    certificate: Certificate | None,
    on_started: Callable[[Prepared], None],
    fleet: Fleet | None = None,
    colleagues: Colleagues | None = None,
) -> None:
    """Serve in this process, until told to stop."""
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
            renewal = {} if certificate is None else {"certificate": certificate.run}
            async with (
                database as prepared,
                application(
                    settings,
                    prepared.database.url,
                    log_request=log_request,
                    exporters=exporters,
                    fleet=fleet,
                    colleagues=colleagues,
                ) as app,
                in_background(renewal),
            ):
                server = Server(
                    app,
                    certificate=certificate,
                    header_timeout_seconds=settings.header_timeout_seconds,
                    shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
                    on_started=lambda: on_started(prepared),
                    on_stopping=app.end_streams,
                )
                # What lives as long as the process need not be looked at by every garbage collection.
                gc.collect()
                gc.freeze()
                sys.setswitchinterval(SWITCH_SECONDS)
                await server.serve(sockets)
                log.info("stopping")
        except asyncio.CancelledError:
            if not is_stopping:
                raise
    log.info("stopped")


def _announce(settings: Settings, sockets: list[socket], prepared: Prepared) -> None:
    host, port = sockets[0].getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 # compared
    url = f"{'https' if settings.tls_cert_file else 'http'}://{shown}:{port}"
    log.info("serving", url=url, version=VERSION)
    console.print(f"\n[bold]Reliability Studio {VERSION}[/] is ready. Open [bold]{url}{graphql.PATH}[/]\n")
    table = Table.grid(padding=(0, 3))
    table.add_row("  GraphQL", f"{url}{graphql.PATH}")
    table.add_row("  REST", f"{url}/api/incidents")
    table.add_row("  Health", f"{url}/api/health")
    table.add_row("  Data", escape(prepared.database.description))
    if settings.workers > 1:
        table.add_row("  Workers", f"{settings.workers} processes; SIGHUP replaces them one after the other")
    console.print(table)
    if prepared.admin is not None:
        email, password = prepared.admin
        console.print(
            f"\nSign in as [bold]{escape(email)}[/] with the password [bold]{escape(password)}[/]\n"
            "It is shown this once. To set another: reliability-studio user set-password " + escape(email)
        )
    if not settings.auth_enabled:
        console.print(
            "\n[bold red]Authentication is off (AUTH_ENABLED=false): whoever can connect may do everything.[/]"
        )
    console.print("\nStop with Ctrl-C.")
