"""What the command line shows: on standard error, so that standard output holds results and log lines only."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from domain.redaction import redact

console = Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(message: str) -> None:
    """Say why the command ends, without what looks like a secret."""
    console.print(f"[bold red]Error:[/] {escape(redact(message))}")


def escaped(text: str) -> str:
    """Somebody else's text, which is shown as it is."""
    return escape(text)


@contextmanager
def working(what: str) -> Generator[None]:
    """Show that something takes a while: a spinner on a terminal, a line elsewhere."""
    if console.is_terminal:
        with console.status(f"{escape(what)} ..."):
            yield
    else:
        console.print(f"{escape(what)} ...")
        yield


@contextmanager
def counting(what: str) -> Generator[Callable[[int, int, str], None]]:
    """Show how far something is: call the result with the number of steps done, of all, and what was done last."""
    if not console.is_terminal:
        shown = ""

        def say(done: int, total: int, last: str) -> None:
            nonlocal shown
            if last != shown or done == total:
                shown = last
                console.print(f"{escape(what)} {done}/{total}: {escape(last)}")

        yield say
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape(what), total=None)

        def show(done: int, total: int, last: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{escape(what)}: {escape(last)}")

        yield show
