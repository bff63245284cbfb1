"""The command line for SLOs: `reliability-studio slo`."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer

from app.settings import Settings
from app.terminal import show_error

Result = TypeVar("Result")
Choice = TypeVar("Choice")

REFUSED = 1
UNREADABLE = 2  # As for options that are wrong.

# What the commands need beside these is imported by each of them: it takes a second, which --help should not.

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="FOLDER", help="Where the embedded PostgreSQL keeps its data.")
]
EnvFile = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Read settings from lines NAME=value.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen, and write nothing.")]
Services = Annotated[
    list[str] | None, typer.Option("--service", metavar="NAME", help="Only the SLOs of this service. Can be repeated.")
]


class Runner(Protocol):
    """Does a command's work, or says why that is not possible and exits."""

    def __call__(self, work: Coroutine[Any, Any, Result], /) -> Result:
        """What came of the work."""
        ...


def slo_commands(settings_of: Callable[..., Settings], run: Runner) -> typer.Typer:
    """The commands. `settings_of` reads the settings, `run` does a command's work, as for all other commands."""
    commands = typer.Typer(
        name="slo",
        help="Bring SLOs in from OpenSLO, Sloth or Pyrra, and out as OpenSLO or rules for Prometheus.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @commands.command("import")
    def import_files(
        files: Annotated[list[str], typer.Argument(metavar="FILES|-", help="Files to read; - is standard input.")],
        dry_run: DryRun = False,
        format: Annotated[
            str | None,
            typer.Option(metavar="FORMAT", help="openslo, sloth or pyrra; by default whatever a file says it is."),
        ] = None,
        window_days: Annotated[
            int | None,
            typer.Option(
                min=1, max=366, help="The window of Sloth's SLOs, which their files do not say; 30 by default."
            ),
        ] = None,
        data_dir: DataDir = None,
        env_file: EnvFile = None,
    ) -> None:
        """Make SLOs what files of OpenSLO, Sloth or Pyrra say: all of them, or none.

        What is there already as a file says is left alone, so that it can be repeated. Services that are not in the
        catalog are added. Shows + for what is new, ~ for what changes and = for what stays; the reasons, with file
        and line, for what cannot be.

        Exits with 1 when anything is refused, and 2 when a file cannot be read.

        [bold]Examples[/]

          reliability-studio slo import --dry-run slos/*.yaml
          kubectl get prometheusservicelevels -A -o yaml | reliability-studio slo import -
        """
        texts = [(name, _text(name)) for name in files]
        from app.slo_files import import_texts
        from engines.slo.formats.reader import SpecificationFormat

        words = {one.value.lower(): one for one in SpecificationFormat}
        wanted = None if format is None else _choice(words, format, "--format")

        period_seconds = None if window_days is None else window_days * 86_400
        settings = settings_of(env_file, data_dir=data_dir)
        was_written = run(import_texts(settings, texts, format=wanted, period_seconds=period_seconds, dry_run=dry_run))
        if not was_written:
            raise typer.Exit(REFUSED)

    @commands.command()
    def rules(
        services: Services = None,
        format: Annotated[
            str, typer.Option(metavar="FORMAT", help="plain: a rule file; prometheusrule: an object for the operator.")
        ] = "plain",
        dialect: Annotated[
            str, typer.Option(metavar="DIALECT", help="Whose names and labels the rules have: sloth or pyrra.")
        ] = "sloth",
        data_dir: DataDir = None,
        env_file: EnvFile = None,
    ) -> None:
        """Print recording rules and burn-rate alerts for Prometheus, for all SLOs.

        Dashboards made for Sloth (or for Pyrra, with its dialect) work with them.

        [bold]Examples[/]

          reliability-studio slo rules > /etc/prometheus/rules/slos.yaml
          reliability-studio slo rules --format prometheusrule | kubectl apply -f -
        """
        from app.slo_files import rules_text
        from engines.slo.rules.files import RuleDialect
        from engines.slo.rules.groups import RuleFormat

        form = _choice({one.value.lower().replace("_", ""): one for one in RuleFormat}, format, "--format")
        names = _choice({one.value.lower(): one for one in RuleDialect}, dialect, "--dialect")
        settings = settings_of(env_file, data_dir=data_dir)
        typer.echo(run(rules_text(settings, services, format=form, dialect=names)), nl=False)

    @commands.command()
    def export(services: Services = None, data_dir: DataDir = None, env_file: EnvFile = None) -> None:
        """Print all SLOs in OpenSLO, as YAML that imports back to the same.

        [bold]Example[/]

          reliability-studio slo export > slos.yaml
        """
        from app.slo_files import open_slo_text

        settings = settings_of(env_file, data_dir=data_dir)
        typer.echo(run(open_slo_text(settings, services)), nl=False)

    @commands.command()
    def adopt(dry_run: DryRun = False, data_dir: DataDir = None, env_file: EnvFile = None) -> None:
        """Take over the SLOs that run in Prometheus under the rules of Sloth or Pyrra.

        They are found by these rules and their series, which stay as they are. Exits with 1 when anything is refused.

        [bold]Example[/]

          PROMETHEUS_URL=http://127.0.0.1:9090 reliability-studio slo adopt --dry-run
        """
        from app.slo_files import adopt_running

        if not run(adopt_running(settings_of(env_file, data_dir=data_dir), dry_run=dry_run)):
            raise typer.Exit(REFUSED)

    return commands


def _text(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        show_error(f"{name} cannot be read: {error.strerror or error}.")
    except UnicodeDecodeError:
        show_error(f"{name} is not UTF-8 text.")
    raise typer.Exit(UNREADABLE)


def _choice(known: Mapping[str, Choice], word: str, option: str) -> Choice:
    if word.lower() not in known:
        show_error(f'{option} must be one of {", ".join(known)}, not "{word}".')
        raise typer.Exit(UNREADABLE)
    return known[word.lower()]
