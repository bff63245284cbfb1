"""Starts the programs of the stack in their order, each told of those before it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from deploy.stack.accounts import SHOP_SCOPES, TRIAL_SCOPES, first_password, make_token
from deploy.stack.place import Place
from deploy.stack.ports import HOST, USUAL
from deploy.stack.programs import PROGRAMS, ROOT, SCRAPE_INTERVAL_SECONDS, SERVER, TOKEN, Program
from deploy.stack.running import CannotStart, Process
from deploy.stack.terminal import console


@dataclass
class Stack:
    """What runs. Where people have to sign in: a token to try things out, and the first admin's password, if new."""

    processes: dict[str, Process] = field(default_factory=dict)
    token: str | None = None
    password: str | None = None


@asynccontextmanager
async def running(http: httpx.AsyncClient, place: Place) -> AsyncGenerator[Stack]:
    """All programs that there are, each started when those before it are ready. Raises CannotStart."""
    stack = Stack()
    try:
        for program in PROGRAMS:
            found = program.find()
            if found is None and program.is_needed:
                raise CannotStart(f"{program.names[0]} is not installed: {program.how_to_get}")
            if found is None:
                console.print(f"[yellow]{program.service:13}[/] not on PATH, so it is left out ({program.how_to_get})")
                continue
            await _start(http, program, found, place, stack)
        yield stack
    finally:
        for name, process in reversed(stack.processes.items()):
            await process.stop()
            console.print(f"[dim]{name} stopped[/]")


async def _start(http: httpx.AsyncClient, program: Program, found: str, place: Place, stack: Stack) -> None:
    command = program.arguments(found, place.folder, place.ports)
    settings: dict[str, str] = {}
    if program.service == "backend":
        command += _from_file(place)
        settings = _server_settings(place, stack.processes)
    elif program.service == "demo-shop":
        command += _sinks(place.ports, stack.processes)
        settings = await _shop_settings(place, stack)
    stack.processes[program.service] = process = await Process.start(
        program.service, command, folder=place.folder, cwd=ROOT, settings=settings
    )
    url = f"http://{HOST}:{place.ports[program.service]}"
    await process.ready(http, url + program.probe)
    usual = USUAL[program.service]
    moved = "" if place.ports[program.service] == usual else f" (not {usual})"
    console.print(f"[green]{program.service:13}[/] {url}{moved}")
    if program.service == "backend" and place.with_sign_in:
        stack.password = first_password(process)
        stack.token = await _token(place, stack, "stack", TRIAL_SCOPES)


def _server_settings(place: Place, up: Mapping[str, Process]) -> dict[str, str]:
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
        # Without signing in, it is tried out more easily, and it listens on this machine only.
        "AUTH_ENABLED": str(place.with_sign_in).lower(),
    }


def _from_file(place: Place) -> list[str]:
    return [] if place.env_file is None else ["--env-file", str(place.env_file)]


def _sinks(ports: Mapping[str, int], up: Mapping[str, Process]) -> list[str]:
    """Where the shop sends its logs and traces."""
    loki = ["--loki", f"http://{HOST}:{ports['loki']}"] if "loki" in up else []
    return loki + (["--traces", f"http://{HOST}:{ports['otlp']}/v1/traces"] if "tempo" in up else [])


async def _shop_settings(place: Place, stack: Stack) -> dict[str, str]:
    """With what the shop signs in, where it has to."""
    return {"STUDIO_TOKEN": await _token(place, stack, "demo-shop", SHOP_SCOPES)} if place.with_sign_in else {}


async def _token(place: Place, stack: Stack, name: str, scopes: tuple[str, ...]) -> str:
    options = [*_from_file(place), *([] if place.database_url else ["--data-dir", str(place.folder / "postgres")])]
    settings = _server_settings(place, stack.processes)
    return await make_token(SERVER, name, scopes, options=options, settings=settings)
