"""The command line of the demo shop."""

import asyncio
import logging
import signal
import sys
from typing import Annotated, Any

import httpx
import typer

from deploy.demo_shop.control import control
from deploy.demo_shop.faults import LESSONS, Fault
from deploy.demo_shop.listening import Listener
from deploy.demo_shop.shop import Options, running_shop

_ANSWER_SECONDS = 10.0

cli = typer.Typer(
    name="demo-shop",
    help="A shop of six services that can be broken on purpose, to see what Reliability Studio makes of it.\n\n"
    "storefront calls catalog and checkout; checkout calls inventory, payments and shipping. Start it with "
    "[bold]run[/], wait a minute, [bold]break[/] something, and watch; then [bold]heal[/].",
    epilog="[bold]make stack[/] starts it together with the server, Prometheus, Pushgateway and Alertmanager.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ShopURL = Annotated[str, typer.Option("--shop", metavar="URL", help="Where the shop's control is.")]
Which = Annotated[Fault, typer.Argument(help="What to break; `faults` explains them.")]
_HERE = "http://127.0.0.1:8100"


@cli.command()
def run(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the control; the services have the six after it. 0: any.")] = 8100,
    studio: Annotated[
        str | None, typer.Option(metavar="URL", help="Reliability Studio, to register services and deployments.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="STUDIO_TOKEN", metavar="TOKEN", help="API token for it: catalog:write, slos:write, read."),
    ] = None,
    loki: Annotated[str | None, typer.Option(metavar="URL", help="Loki, to push log lines to.")] = None,
    traces: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to post traces: http://tempo:4318/v1/traces")
    ] = None,
    requests_per_second: Annotated[float, typer.Option(help="How many customers come; 0 for none.", min=0)] = 8,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write no log lines to standard output.")] = False,
) -> None:
    """Open the shop until told to stop (Ctrl-C, SIGTERM).

    [bold]Example[/]

      python -m deploy.demo_shop run --studio http://127.0.0.1:9000
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    options = Options(
        host=host,
        port=port,
        studio_url=studio,
        studio_token=token,
        loki_url=loki,
        traces_url=traces,
        requests_per_second=requests_per_second,
        is_quiet=quiet,
    )
    try:
        asyncio.run(_run(options))
    except OSError as error:
        _fail(
            f"Cannot listen on {host}, ports {port} to {port + len(LESSONS) + 1}: {error}. Choose others with --port."
        )


@cli.command(name="break")
def break_it(
    fault: Which,
    seconds: Annotated[float | None, typer.Option(help="For how long; until it is healed by default.")] = None,
    shop: ShopURL = _HERE,
) -> None:
    """Break something in a running shop.

    [bold]Examples[/]

      python -m deploy.demo_shop break slow-database
      python -m deploy.demo_shop break bad-deploy --seconds 300
    """
    _ask("POST", shop, f"/faults/{fault.value}", {"seconds": seconds})
    typer.echo(f"{fault.value}: {LESSONS[fault].does}\nLook: {LESSONS[fault].look}")


@cli.command()
def heal(
    fault: Annotated[Fault | None, typer.Argument(help="What to heal; everything by default.")] = None,
    shop: ShopURL = _HERE,
) -> None:
    """Heal what was broken.

    [bold]Example[/]

      python -m deploy.demo_shop heal
    """
    for each in Fault if fault is None else (fault,):
        _ask("DELETE", shop, f"/faults/{each.value}")
    typer.echo("Everything is healed." if fault is None else f"{fault.value} is healed.")


@cli.command()
def status(shop: ShopURL = _HERE) -> None:
    """Say what runs where, and what is broken.

    [bold]Example[/]

      python -m deploy.demo_shop status
    """
    said = _ask("GET", shop, "/status")
    for name, service in said["services"].items():
        typer.echo(f"{name:12} {service['version']:7} {service['url']}")
    broken = [name for name, is_on in said["faults"].items() if is_on]
    typer.echo(f"Broken: {', '.join(broken) or 'nothing'}.")


@cli.command()
def faults() -> None:
    """Explain what can be broken, and what there is to see then.

    [bold]Example[/]

      python -m deploy.demo_shop faults
    """
    for fault, lesson in LESSONS.items():
        typer.echo(f"{fault.value}\n    {lesson.does}\n    Look: {lesson.look}\n")


async def _run(options: Options) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running_shop(options) as shop:
        listener = Listener(control(shop), options.host, options.port)
        await listener.start()
        shop.journal.write("demo-shop", "info", f"the shop is open, its control is http://127.0.0.1:{listener.port}")
        try:
            await stopping.wait()
        finally:
            await listener.stop()


def _ask(method: str, shop: str, path: str, body: Any = None) -> Any:
    try:
        answer = httpx.request(method, shop.rstrip("/") + path, json=body, timeout=_ANSWER_SECONDS)
        said = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        _fail(f"No shop answers at {shop}: {error}. Start it with `run`, or name it with --shop.")
    if answer.is_error:
        _fail(said["error"])
    return said


def _fail(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(1)
