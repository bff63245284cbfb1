"""The command line of the stack."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
from rich.console import Console
from rich.markup import escape

from deploy.stack.checks import Result, check
from deploy.stack.place import Place
from deploy.stack.ports import HOST, USUAL, choose
from deploy.stack.programs import PROGRAMS, ROOT, SCRAPE_INTERVAL_SECONDS, TOKEN, Program
from deploy.stack.running import CannotStart, Process

_ASK_SECONDS: Final = 15.0

console = Console(highlight=False, soft_wrap=True)
cli = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@cli.command()
def stack(
    only_check: Annotated[bool, typer.Option("--check", help="Check that everything works, and exit.")] = False,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Take any ports instead of the usual ones.")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the data here; by default it is gone at the end.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="A Postgres of yours, instead of the embedded one.")
    ] = None,
) -> None:
    """Start the whole stack without Docker: Prometheus, Pushgateway, Alertmanager, the server with its Postgres, the
    demo shop, and Loki and Tempo where they are installed. Stop it with Ctrl-C.

    Then break something: python -m deploy.demo_shop faults
    """
    try:
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
            place = Place(data.resolve(), choose(usual=not free_ports), database_url)
            code = asyncio.run(_run(place, only_check=only_check))
        else:
            with tempfile.TemporaryDirectory(prefix="reliability-studio-stack-") as folder:
                Path(folder).chmod(0o755)  # Postgres runs as another account where root calls this.
                place = Place(Path(folder), choose(usual=not free_ports), database_url)
                code = asyncio.run(_run(place, only_check=only_check))
    except CannotStart as error:
        console.print(f"[bold red]{escape(str(error))}[/]")
        raise typer.Exit(1) from None
    raise typer.Exit(code)


async def _run(place: Place, *, only_check: bool) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    work = asyncio.current_task()

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            if work is not None:
                work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    ports = place.ports
    try:
        async with httpx.AsyncClient(timeout=_ASK_SECONDS, trust_env=False) as http, _running(http, place) as up:
            is_well = await _show_checks(http, place, set(up))
            if only_check:
                return 0 if is_well else 1
            console.print(
                f"\nOpen [bold]http://{HOST}:{ports['backend']}/graphql[/] and http://{HOST}:{ports['prometheus']}; "
                f"break something with\n  python -m deploy.demo_shop break bad-deploy --shop "
                f"http://{HOST}:{ports['demo-shop']}\nStop with Ctrl-C."
            )
            ended = await _first_to_end(up)
            console.print(f"[bold red]{ended} ended by itself:[/]\n{escape(up[ended].last_lines())}")
            return 1
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        return 0


async def _first_to_end(up: Mapping[str, Process]) -> str:
    waiting = [asyncio.create_task(process.ended()) for process in up.values()]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in waiting:
            task.cancel()


@asynccontextmanager
async def _running(http: httpx.AsyncClient, place: Place) -> AsyncGenerator[dict[str, Process]]:
    """All programs that there are, each started when those before it are ready. Raises CannotStart."""
    up: dict[str, Process] = {}
    ports = place.ports
    try:
        for program in PROGRAMS:
            found = program.find()
            if found is None and program.is_needed:
                raise CannotStart(f"{program.names[0]} is not installed: {program.how_to_get}")
            if found is None:
                console.print(f"[yellow]{program.service:13}[/] not on PATH, so it is left out ({program.how_to_get})")
                continue
            command = program.arguments(found, place.folder, ports)
            if program.service == "demo-shop":
                command += _sinks(ports, up)
            up[program.service] = process = await Process.start(
                program.service, command, folder=place.folder, cwd=ROOT, settings=_settings(program, place, up)
            )
            url = f"http://{HOST}:{ports[program.service]}"
            await process.ready(http, url + program.probe)
            moved = "" if ports[program.service] == USUAL[program.service] else f" (not {USUAL[program.service]})"
            console.print(f"[green]{program.service:13}[/] {url}{moved}")
        yield up
    finally:
        for name, process in reversed(up.items()):
            await process.stop()
            console.print(f"[dim]{name} stopped[/]")


def _settings(program: Program, place: Place, up: Mapping[str, Process]) -> dict[str, str]:
    if program.service != "backend":
        return {}
    urls = {
        f"{name.upper()}_URL": f"http://{HOST}:{place.ports[name]}"
        for name in ("prometheus", "pushgateway", "alertmanager", "loki", "tempo")
        if name in up
    }
    database = {"DATABASE_URL": place.database_url} if place.database_url else {}
    sinks = {
        "tempo": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{HOST}:{place.ports['otlp']}/v1/traces"},
        "loki": {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://{HOST}:{place.ports['loki']}/otlp/v1/logs"},
    }
    return {
        **urls,
        **database,
        **{name: value for service, sink in sinks.items() if service in up for name, value in sink.items()},
        "PROMETHEUS_SCRAPE_INTERVAL_SECONDS": str(SCRAPE_INTERVAL_SECONDS),
        "SERVICE_GRAPH_INTERVAL_SECONDS": "60",
        "WEBHOOK_TOKENS": f"alertmanager={TOKEN}",
        "AUTH_ENABLED": "false",  # It listens on this machine only, and is to be tried out.
    }


def _sinks(ports: Mapping[str, int], up: Mapping[str, Process]) -> list[str]:
    """Where the shop sends its logs and traces."""
    loki = ["--loki", f"http://{HOST}:{ports['loki']}"] if "loki" in up else []
    return loki + (["--traces", f"http://{HOST}:{ports['otlp']}/v1/traces"] if "tempo" in up else [])


async def _show_checks(http: httpx.AsyncClient, place: Place, running: set[str]) -> bool:
    console.print()
    is_well = True
    words = {True: "[green]holds  [/]", False: "[bold red]FAILS  [/]", None: "[yellow]skipped[/]"}
    result: Result
    async for result in check(http, place, running=running):
        console.print(f"{words[result.holds]} {result.check}: {escape(result.remark)}")
        is_well = is_well and result.holds is not False
    return is_well
