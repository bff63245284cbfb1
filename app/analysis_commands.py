"""The command line for analyses: `reliability-studio analyses`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from app.settings import Settings
from app.slo_commands import DataDir, EnvFile, Runner

DIFFERS: Final = 1

# What the commands need beside these is imported by each of them: it takes a second, which --help should not.


def analysis_commands(settings_of: Callable[..., Settings], run: Runner) -> typer.Typer:
    """The commands. `settings_of` reads the settings, `run` does a command's work, as for all other commands."""
    commands = typer.Typer(
        name="analyses",
        help="Give stored analyses again from their evidence.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # With one command only, typer would leave its name out.
    commands.callback()(lambda: None)

    @commands.command()
    def replay(
        analysis: Annotated[UUID, typer.Argument(metavar="ID", help="The id of the analysis.")],
        answer: Annotated[
            Path | None, typer.Option("--answer", metavar="FILE", help="Write the answer of now there, as JSON.")
        ] = None,
        data_dir: DataDir = None,
        env_file: EnvFile = None,
    ) -> None:
        """Answer the evidence of a stored analysis again, and compare it with what was answered then.

        No backend is asked: everything that an analysis was told is stored with it, for the last 20 of an incident.
        The same version of the engine gives the same answer byte for byte; another one may have learned better.

        Exits with 1 when the answer is another.

        [bold]Examples[/]

          reliability-studio analyses replay 0197a2e4-8a7c-7cc3-9d5b-1f0f6f1f2a3b
          reliability-studio analyses replay 0197a2e4-8a7c-7cc3-9d5b-1f0f6f1f2a3b --answer answer.json
        """
        settings = settings_of(env_file, data_dir=data_dir)
        from app.analysis_replay import replay_stored, show
        from engines.correlation.record import write

        given = run(replay_stored(settings, analysis))
        if answer is not None:
            answer.write_bytes(write(given.now))
        show(given)
        if not given.is_same:
            raise typer.Exit(DIFFERS)

    return commands
