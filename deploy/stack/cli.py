"""The command line of the stack."""

import asyncio
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
from rich.markup import escape

from deploy.stack.accounts import ADMIN, TRIAL_SCOPES
from deploy.stack.checks import Result, check
from deploy.stack.place import Place
from deploy.stack.ports import HOST, choose
from deploy.stack.running import CannotStart, Process
from deploy.stack.starting import Stack, running
from deploy.stack.terminal import console

_ASK_SECONDS: Final = 15.0

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
    env_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Further settings of the server, NAME=value."),
    ] = None,
    sign_in: Annotated[
        bool, typer.Option("--sign-in", help="Everybody has to sign in, as they have to wherever others can come.")
    ] = False,
) -> None:
    """Start the whole stack without Docker: Prometheus, Pushgateway, Alertmanager, the server with its Postgres, the
    demo shop, and Loki and Tempo where they are installed. Stop it with Ctrl-C.

    Then break something: python -m deploy.demo_shop faults
    """

    def run(folder: Path) -> int:
        settings = env_file and env_file.resolve()
        place = Place(folder, choose(usual=not free_ports), database_url, settings, with_sign_in=sign_in)
        return asyncio.run(_run(place, only_check=only_check))

    try:
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
            code = run(data.resolve())
        else:
            with tempfile.TemporaryDirectory(prefix="reliability-studio-stack-") as folder:
                Path(folder).chmod(0o755)  # Postgres runs as another account where root calls this.
                code = run(Path(folder))
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
    try:
        async with httpx.AsyncClient(timeout=_ASK_SECONDS, trust_env=False) as http, running(http, place) as stack:
            is_well = await _show_checks(http, place, stack)
            if only_check:
                return 0 if is_well else 1
            _guide(place, stack)
            ended = await _first_to_end(stack.processes)
            console.print(f"[bold red]{ended} ended by itself:[/]\n{escape(stack.processes[ended].last_lines())}")
            return 1
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        return 0


def _guide(place: Place, stack: Stack) -> None:
    """Say where to look, as whom, and what to do next."""
    at = {name: f"http://{HOST}:{port}" for name, port in place.ports.items()}
    console.print(f"\nOpen [bold]{at['backend']}/graphql[/] and {at['prometheus']}; break something with")
    console.print(f"  python -m deploy.demo_shop break bad-deploy --shop {at['demo-shop']}")
    if stack.password is not None:
        console.print(f"Sign in as [bold]{ADMIN}[/] with the password [bold]{escape(stack.password)}[/]")
    elif place.with_sign_in:
        console.print(f"Sign in as before, as [bold]{ADMIN}[/]")
    if stack.token is not None:
        console.print(f'Ask with curl -H "Authorization: Bearer {stack.token}" ({", ".join(TRIAL_SCOPES)})')
    console.print("Stop with Ctrl-C.")


async def _first_to_end(up: Mapping[str, Process]) -> str:
    waiting = [asyncio.create_task(process.ended()) for process in up.values()]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in waiting:
            task.cancel()


async def _show_checks(http: httpx.AsyncClient, place: Place, stack: Stack) -> bool:
    console.print()
    is_well = True
    words = {True: "[green]holds  [/]", False: "[bold red]FAILS  [/]", None: "[yellow]skipped[/]"}
    result: Result
    async for result in check(http, place, running={*stack.processes}, token=stack.token):
        console.print(f"{words[result.holds]} {result.check}: {escape(result.remark)}")
        is_well = is_well and result.holds is not False
    return is_well
