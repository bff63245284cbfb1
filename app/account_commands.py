"""The command line for users and tokens: `reliability-studio user` and `reliability-studio token`."""

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from app.settings import Settings
from app.terminal import console, show_error
from domain.access import Role, TokenScope

Result = TypeVar("Result")

_AS_WIDE_AS_NEEDED = 2000

# What the commands need beside these is imported by each of them: it takes a second, which --help should not.

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="FOLDER", help="Where the embedded PostgreSQL keeps its data.")
]
EnvFile = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Read settings from lines NAME=value.")
]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="As whom they sign in.")]
AskPassword = Annotated[
    bool, typer.Option("--ask", help="Ask for the password, instead of making one. It is not shown.")
]


class Runner(Protocol):
    """Does a command's work, or says why that is not possible and exits."""

    def __call__(self, work: Coroutine[Any, Any, Result], /) -> Result:
        """What came of the work."""
        ...


def user_commands(settings_of: Callable[..., Settings], run: Runner) -> typer.Typer:
    """The commands about users. `settings_of` reads the settings, `run` does a command's work."""
    commands = _group("user", "Add users, set their passwords and roles, let them in or no longer.")

    @commands.command("create")
    def create(
        email: Email,
        name: Annotated[str | None, typer.Option(help="What people call them; by default the address.")] = None,
        role: Annotated[str, typer.Option(help="viewer, responder or admin.")] = "viewer",
        ask: AskPassword = False,
        data_dir: DataDir = None,
        env_file: EnvFile = None,
    ) -> None:
        """Add a user who signs in with a password, which is shown once.

        [bold]Example[/]

          reliability-studio user create ada@example.org --name Ada --role responder
        """
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import add_user

        password = _asked() if ask else None
        made = run(add_user(settings, email, name or email, _role(role), password))
        _show_password(email, None if ask else made)

    @commands.command("set-password")
    def set_password(
        email: Email, ask: AskPassword = False, data_dir: DataDir = None, env_file: EnvFile = None
    ) -> None:
        """Give a user another password, which is shown once. All of their sessions end.

        [bold]Example[/]

          reliability-studio user set-password admin@localhost
        """
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import set_password

        password = _asked() if ask else None
        made = run(set_password(settings, email, password))
        _show_password(email, None if ask else made)

    @commands.command("set-role")
    def set_role(
        email: Email,
        role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, responder or admin.")],
        data_dir: DataDir = None,
        env_file: EnvFile = None,
    ) -> None:
        """Let a user do more, or less."""
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import set_role

        run(set_role(settings, email, _role(role)))

    @commands.command("disable")
    def disable(email: Email, data_dir: DataDir = None, env_file: EnvFile = None) -> None:
        """Let a user in no longer: their sessions end, their API tokens stop working."""
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import set_active

        run(set_active(settings, email, False))

    @commands.command("enable")
    def enable(email: Email, data_dir: DataDir = None, env_file: EnvFile = None) -> None:
        """Let a user in again who was disabled."""
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import set_active

        run(set_active(settings, email, True))

    @commands.command("list")
    def show(data_dir: DataDir = None, env_file: EnvFile = None) -> None:
        """List the users."""
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import list_users

        _show(("email", "name", "role", "active", "password"), run(list_users(settings)))

    return commands


def token_commands(settings_of: Callable[..., Settings], run: Runner) -> typer.Typer:
    """The commands about API tokens."""
    commands = _group("token", "Make and revoke API tokens, with which machines say who they are.")

    @commands.command("create")
    def create(
        name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
        user: Annotated[str, typer.Option(metavar="EMAIL", help="Whose it is: it may do no more than they may.")],
        scope: Annotated[
            list[str] | None,
            typer.Option(help="What it is for: " + ", ".join(TokenScope) + ". Can be repeated; read by default."),
        ] = None,
        expires_in_days: Annotated[int | None, typer.Option(help="1 to 3650; by default it does not expire.")] = None,
        data_dir: DataDir = None,
        env_file: EnvFile = None,
    ) -> None:
        """Make an API token and print it, this once, on standard output.

        [bold]Example[/]

          reliability-studio token create alertmanager --user admin@localhost --scope alerts:write
        """
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import add_token

        id, secret = run(add_token(settings, user, name, _scopes(scope or ["read"]), expires_in_days))
        console.print(f"Token {id}. It is shown this once:")
        typer.echo(secret)

    @commands.command("revoke")
    def revoke(
        id: Annotated[UUID, typer.Argument(metavar="ID", help="The token's id, as token list shows it.")],
        data_dir: DataDir = None,
        env_file: EnvFile = None,
    ) -> None:
        """End an API token."""
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import revoke_token

        run(revoke_token(settings, id))

    @commands.command("list")
    def show(data_dir: DataDir = None, env_file: EnvFile = None) -> None:
        """List the API tokens, without the tokens themselves, which nobody has."""
        settings = settings_of(env_file, data_dir=data_dir)
        from app.accounts import list_tokens

        columns = ("id", "user", "name", "scopes", "expires", "last used", "revoked")
        _show(columns, run(list_tokens(settings)))

    return commands


def _group(name: str, help: str) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=help,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _asked() -> str:
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _role(word: str) -> Role:
    if word.upper() not in Role.__members__:
        show_error(f"{word!r} is no role: choose viewer, responder or admin")
        raise typer.Exit(2)
    return Role(word.upper())


def _scopes(words: list[str]) -> list[TokenScope]:
    known = [scope.value for scope in TokenScope]
    if unknown := [word for word in words if word not in known]:
        show_error(f"{unknown[0]!r} is no scope: choose of {', '.join(known)}")
        raise typer.Exit(2)
    return [TokenScope(word) for word in words]


def _show_password(email: str, password: str | None) -> None:
    if password is None:
        console.print(f"The password of {escape(email)} is set.")
        return
    console.print(f"The password of {escape(email)}, which is shown this once:")
    typer.echo(password)


def _show(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    # The first column is what other commands ask for, so all of it has to be there however narrow the terminal is.
    first, *others = columns
    widest = max((len(row[0]) for row in rows), default=0)
    table = Table(Column(first, no_wrap=True, min_width=widest), box=None, pad_edge=False)
    for column in others:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False, width=None if sys.stdout.isatty() else _AS_WIDE_AS_NEEDED).print(table)
