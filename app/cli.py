"""The command line: `reliability-studio`."""

import sys
from collections.abc import Coroutine
from pathlib import Path
from socket import socket
from traceback import format_exception
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.account_commands import token_commands, user_commands
from app.analysis_commands import analysis_commands
from app.certificate import Certificate, CertificateError
from app.server import CannotListen, listen
from app.setting import SettingsError
from app.settings import LogFormat, Settings, load_settings, markdown_table
from app.slo_commands import slo_commands
from app.terminal import show_error
from app.version import VERSION
from domain.redaction import redact

if TYPE_CHECKING:
    from app.observability.exporters import Exporters
    from app.observability.logs import RequestLog

# What the commands need beside these is imported by each of them: it takes a second, which --help should not.

Result = TypeVar("Result")

SETTINGS_ARE_WRONG = 2  # As for options that are wrong.

cli = typer.Typer(
    name="reliability-studio",
    help="Reliability Studio: one GraphQL endpoint for incidents, their timelines, services and SLOs.\n\n"
    "Start with [bold]reliability-studio serve --demo[/] and open http://127.0.0.1:9000/graphql. Without a "
    "DATABASE_URL, it brings its own PostgreSQL.",
    epilog="Settings are environment variables: [bold]reliability-studio settings[/] lists them.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="FILE", help="Read settings from lines NAME=value. The environment goes first."),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="FOLDER", help="Where the embedded PostgreSQL keeps its data.")
]


def main() -> None:
    """Run the command line."""
    sys.excepthook = _show_crash
    cli()


@cli.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Say which version this is, and exit.")] = False,
) -> None:
    if version:
        typer.echo(VERSION)
        raise typer.Exit


cli.callback(invoke_without_command=True)(_root)


@cli.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, by default 127.0.0.1; 0.0.0.0 for all.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, by default 9000; 0 takes a free one.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that serve the port together, by default 1; one for each core.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key, where that is in another file.")
    ] = None,
    data_dir: DataDir = None,
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo shop first, unless it is there already.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Serve the API until told to stop (Ctrl-C, SIGTERM).

    Migrates the database first. What runs when told to stop gets 20 seconds to finish.

    A process uses one core. With --workers, a parent starts several on the same port: one that dies is started again,
    and SIGHUP replaces them one after the other (after an upgrade, or a change of the --env-file) while they go on
    serving. Each holds connections to Postgres of its own.

    [bold]Examples[/]

      reliability-studio serve --demo
      reliability-studio serve --port 9100 --data-dir ./data
      reliability-studio serve --workers 4
      DATABASE_URL=postgresql://me:secret@db.example:5432/studio reliability-studio serve --host 0.0.0.0
    """
    settings = _settings(
        env_file,
        host=host,
        port=port,
        workers=workers,
        tls_cert_file=tls_cert,
        tls_key_file=tls_key,
        data_dir=data_dir,
    )
    from app.observability.exporters import Exporters
    from app.processes.supervisor import command_of
    from app.serve import serve as run_server
    from app.serve import supervise

    try:
        certificate = _certificate(settings)
        sockets = listen(settings.host, settings.port)
        exporters = Exporters.open(settings)
    except (CertificateError, CannotListen) as error:
        show_error(str(error))
        raise typer.Exit(1) from None
    log_request = _configure_logs(settings, exporters)
    try:
        if settings.workers > 1:
            given = (("--env-file", env_file), ("--tls-cert", tls_cert), ("--tls-key", tls_key))
            read_from = [part for name, path in given if path is not None for part in (name, str(path.absolute()))]
            _run(supervise(settings, sockets, command_of("worker", *read_from), with_demo=demo))
        else:
            _run(run_server(settings, sockets, log_request, exporters, certificate=certificate, with_demo=demo))
    finally:
        exporters.close()
        for listener in sockets:
            listener.close()


@cli.command(hidden=True)
def worker(
    number: Annotated[int, typer.Option(help="Which worker this is.")],
    count: Annotated[int, typer.Option(help="How many there are.")],
    folder: Annotated[Path, typer.Option(help="The folder that they share.")],
    channel: Annotated[int, typer.Option(help="Descriptor of the way to the supervisor.")],
    sockets: Annotated[list[int], typer.Option("--socket", help="Descriptors to listen on.")],
    embedded_postgres: Annotated[str | None, typer.Option(help="Where the embedded PostgreSQL listens.")] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="As for `serve`.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="As for `serve`.")] = None,
    env_file: EnvFile = None,
) -> None:
    """Serve as one of several processes. `serve --workers` starts it.

    [bold]Example[/]

      reliability-studio serve --workers 4
    """
    settings = _settings(env_file, tls_cert_file=tls_cert, tls_key_file=tls_key)
    from app.observability.exporters import Exporters
    from app.observability.fleet import Fleet
    from app.serve import work

    url = embedded_postgres or settings.postgres_url()
    if url is None:
        show_error("A worker needs a database. Start it by `serve --workers`.")
        raise typer.Exit(SETTINGS_ARE_WRONG)
    try:
        certificate = _certificate(settings)
        exporters = Exporters.open(settings)
    except CertificateError as error:
        show_error(str(error))
        raise typer.Exit(1) from None
    listeners = [socket(fileno=descriptor) for descriptor in sockets]
    log_request = _configure_logs(settings, exporters)
    fleet, supervisor = Fleet(folder, number), socket(fileno=channel)
    try:
        _run(
            work(
                settings,
                listeners,
                supervisor,
                log_request,
                exporters,
                certificate=certificate,
                count=count,
                fleet=fleet,
                database_url=url,
            )
        )
    finally:
        exporters.close()


@cli.command()
def migrate(data_dir: DataDir = None, env_file: EnvFile = None) -> None:
    """Bring the database to the tables of this version.

    `serve` does it by itself. Safe to run from several places at the same time, and to repeat.

    [bold]Examples[/]

      reliability-studio migrate
      DATABASE_URL=postgresql://me:secret@db.example:5432/studio reliability-studio migrate
    """
    settings = _settings(env_file, data_dir=data_dir)
    from app.batch_jobs import reported
    from app.postgres import migrate_configured

    _run(reported(settings, "migrate", migrate_configured(settings)))


@cli.command(name="new-epoch")
def new_epoch(data_dir: DataDir = None, env_file: EnvFile = None) -> None:
    """After restoring a backup: let the event log know that it is not the one that went on meanwhile.

    Subscribers that saw events which the backup does not have are told so (INVALID_CURSOR), instead of missing those
    that get their places; all others go on. A database that was restored by pg_restore, recovered to a point in time
    or promoted is recognised by itself. One whose files were put back as they were is not: run this before `serve`.

    [bold]Example[/]

      reliability-studio new-epoch
    """
    settings = _settings(env_file, data_dir=data_dir)
    from app.postgres import begin_configured_epoch

    _run(begin_configured_epoch(settings))


@cli.command()
def demo(data_dir: DataDir = None, env_file: EnvFile = None) -> None:
    """Load a demo shop: a dozen services, their owners and SLOs, a year of incidents, and one that is open now.

    Where it was loaded before, nothing happens. Migrates the database first.

    [bold]Example[/]

      reliability-studio demo
    """
    settings = _settings(env_file, data_dir=data_dir)
    from app.batch_jobs import reported
    from app.postgres import load_configured_demo

    _run(reported(settings, "demo", load_configured_demo(settings)))


@cli.command()
def schema() -> None:
    """Print the GraphQL schema, in its schema definition language.

    [bold]Example[/]

      reliability-studio schema > schema.graphql
    """
    from strawberry.printer import print_schema

    from schema.root import build_schema

    typer.echo(print_schema(build_schema()))


@cli.command(name="trusted-documents")
def trusted_documents(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Where the .graphql files are.")],
    output: Annotated[
        Path | None, typer.Option(help="Where to write the manifest; standard output by default.")
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Make a manifest of GraphQL documents, each known by its SHA-256, for TRUSTED_DOCUMENTS_FILE.

    Each file with operations is one document; fragments may lie in other files. What does not fit the schema, or
    exceeds the limits of the settings, is told, and no manifest is written then.

    [bold]Example[/]

      reliability-studio trusted-documents ./queries --output documents.json
    """
    settings = _settings(env_file)
    import orjson

    from app.limits import document_limits
    from app.trusted_documents import make_manifest
    from resolvers.limits.guard import Guard
    from resolvers.operations import Operations
    from schema.root import build_schema

    operations = Operations(build_schema(), guard=Guard(documents=document_limits(settings)))
    manifest = make_manifest(folder, operations, most_cost=settings.max_cost)
    for problem in manifest.problems:
        show_error(problem)
    if manifest.problems:
        raise typer.Exit(1)
    text = orjson.dumps(manifest.documents, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_bytes(text)


@cli.command()
def check(data_dir: DataDir = None, env_file: EnvFile = None) -> None:
    """Ask the database and each telemetry backend whether they work, and say what to do where one does not.

    Exits with 1 when the database fails: nothing works without it.

    [bold]Example[/]

      PROMETHEUS_URL=http://127.0.0.1:9090 reliability-studio check
    """
    settings = _settings(env_file, data_dir=data_dir)
    from app.check import check as check_everything
    from app.check_report import show_report
    from app.observability.redaction import Redactor

    report = _run(check_everything(settings))
    show_report(report, Redactor(settings.secrets()))
    if any(finding.is_fatal for finding in report.findings):
        raise typer.Exit(1)


@cli.command()
def settings() -> None:
    """List every setting: what it does, what is allowed, what it is by default. In Markdown."""
    typer.echo(markdown_table(), nl=False)


def _configure_logs(settings: Settings, exporters: "Exporters") -> "RequestLog":
    from app.observability.logs import RequestLog, configure_logs
    from app.observability.redaction import Redactor

    redactor = Redactor(settings.secrets())
    json = settings.log_format is LogFormat.JSON or (settings.log_format is None and not sys.stdout.isatty())
    configure_logs(level=settings.log_level, json=json, redactor=redactor, export=exporters.export_log)
    return RequestLog(level=settings.log_level, json=json, redactor=redactor, export=exporters.export_log)


def _certificate(settings: Settings) -> Certificate | None:
    """What HTTPS is served with, if it is. Raises CertificateError."""
    return Certificate(settings.tls_cert_file, settings.tls_key_file) if settings.tls_cert_file else None


def _show_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """What Python shows of an error that nobody foresaw, without what looks like a secret."""
    sys.stderr.write(redact("".join(format_exception(kind, error, traceback))))


def _settings(env_file: Path | None, **options: Any) -> Settings:
    try:
        return load_settings(env_file, **options)
    except SettingsError as error:
        for problem in error.problems:
            show_error(problem)
        raise typer.Exit(SETTINGS_ARE_WRONG) from None


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's work to its end, or say why that is not possible."""
    import uvloop

    from app.failures import Failure, explained

    try:
        with explained():
            return uvloop.run(work)
    except Failure as failure:
        show_error(str(failure))
        raise typer.Exit(1) from None


cli.add_typer(slo_commands(_settings, _run))
cli.add_typer(user_commands(_settings, _run))
cli.add_typer(token_commands(_settings, _run))
cli.add_typer(analysis_commands(_settings, _run))
