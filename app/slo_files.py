"""What the commands for SLOs do with the database that the settings name."""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from actions.slos.definitions import read_definitions
from actions.slos.imports import Import, SLOImportOutcomeKind, import_specification
from app.asgi import open_database
from app.backends import open_backends
from app.clock import now
from app.failures import Failure
from app.postgres import migrate, postgres
from app.settings import Settings
from app.terminal import console, counting, escaped, show_error
from db.database import Database
from domain.access import Actor, Role
from domain.objectives import ObjectiveDefinition
from domain.time import Deadline
from engines.slo.formats import openslo_writer
from engines.slo.formats.reader import SpecificationFormat, read
from engines.slo.formats.specifications import Remark, Specification
from engines.slo.rules.files import RuleDialect, rule_file
from engines.slo.rules.groups import RuleFormat
from resolvers.slo_formats import running
from telemetry_clients.errors import TelemetryError

_IMPORTER: Final = Actor(id=None, name="slo import", role=Role.ADMIN)
_ADOPTER: Final = Actor(id=None, name="slo adopt", role=Role.ADMIN)
_ADOPTION_SECONDS: Final = 60.0
_SIGNS: Final = {
    SLOImportOutcomeKind.CREATED: "[green]+[/]",
    SLOImportOutcomeKind.UPDATED: "[yellow]~[/]",
    SLOImportOutcomeKind.UNCHANGED: "[dim]=[/]",
    SLOImportOutcomeKind.REFUSED: "[bold red]![/]",
}


async def import_texts(
    settings: Settings,
    texts: Sequence[tuple[str, str]],
    *,
    format: SpecificationFormat | None,
    period_seconds: int | None,
    dry_run: bool,
) -> bool:
    """Import texts, each with the name of its file, all together or not at all. Says whether nothing was refused."""
    whole = _read_together(texts, format, period_seconds)
    if whole.problems:
        _show_remarks(whole)
        console.print(f"Nothing was imported: {_counted(len(whole.problems), 'problem')}.")
        return False
    async with _database(settings) as database:
        with counting("Importing SLOs") as show:
            came = await import_specification(
                database, whole, dry_run=dry_run, actor=_IMPORTER, now=now(), progress=show
            )
    return _show(came, dry_run=dry_run)


async def adopt_running(settings: Settings, *, dry_run: bool) -> bool:
    """Import what runs in Prometheus. Says whether nothing was refused."""
    async with open_backends(settings) as backends:
        prometheus = backends.telemetry.prometheus.get()
        try:
            found = await running(prometheus, Deadline.after(_ADOPTION_SECONDS))
        except TelemetryError as error:
            raise Failure(error.message) from error
    async with _database(settings) as database:
        came = await import_specification(database, found, dry_run=dry_run, actor=_ADOPTER, now=now())
    return _show(came, dry_run=dry_run)


async def rules_text(
    settings: Settings, services: Sequence[str] | None, *, format: RuleFormat, dialect: RuleDialect
) -> str:
    """Rules for Prometheus."""
    made = rule_file(await _definitions(settings, services), dialect=dialect, format=format)
    for one in made.left_out:
        console.print(f"No rules for {escaped(one.service)}/{escaped(one.name)}: {escaped(one.reason)}.")
    return made.text


async def open_slo_text(settings: Settings, services: Sequence[str] | None) -> str:
    """Objectives in OpenSLO."""
    return openslo_writer.text(await _definitions(settings, services))


async def _definitions(settings: Settings, services: Sequence[str] | None) -> list[ObjectiveDefinition]:
    async with _database(settings) as database, database.reading() as connection:
        return [*(await read_definitions(connection, service_names=services or None)).values()]


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database]:
    async with postgres(settings) as found:
        await migrate(found.url)
        database = await open_database(settings, found.url)
        try:
            yield database
        finally:
            await database.close()


def _read_together(
    texts: Sequence[tuple[str, str]], format: SpecificationFormat | None, period_seconds: int | None
) -> Specification:
    """Several texts as one, because objects of one file can refer to those of another. Remarks say their file."""
    parts = [(name, text) for name, text in texts if text.strip()]
    whole, starts = "", []
    for _, text in parts:
        # Directives can follow the end of a document only, everything else its beginning.
        whole += "" if not whole else "\n...\n" if text.startswith("%") else "\n---\n"
        starts.append(whole.count("\n") + 1)
        whole += text
    found = read(whole, format, period_seconds=period_seconds)

    def of_file(remark: Remark) -> Remark:
        at = max(bisect_right(starts, remark.line) - 1, 0)
        name = parts[at][0] if parts else texts[0][0]
        place = f"{'standard input' if name == '-' else name}:{remark.line - starts[at] + 1 if starts else 1}"
        path = f"{remark.path}: " if remark.path else ""
        return Remark(f"{place}: {path}{remark.message}", remark.document, remark.line)

    problems, notices = (tuple(map(of_file, remarks)) for remarks in (found.problems, found.notices))
    return replace(found, problems=problems, notices=notices)


def _show(came: Import, *, dry_run: bool) -> bool:
    for outcome in came.outcomes:
        what = f"{escaped(outcome.service)}/{escaped(outcome.name)}"
        said = ", ".join(difference.name for difference in outcome.differences) or outcome.reason
        console.print(f"{_SIGNS[outcome.kind]} {what}{f': {escaped(said)}' if said else ''}")
    _show_remarks(Specification(problems=tuple(came.problems), notices=tuple(came.notices)))
    kinds = [outcome.kind for outcome in came.outcomes]
    counts = ", ".join(f"{kinds.count(kind)} {kind.value.lower()}" for kind in SLOImportOutcomeKind if kind in kinds)
    if came.is_refused:
        console.print(f"Nothing was written: {counts}.")
    else:
        console.print(f"{'Would be' if dry_run else 'Done'}: {counts or 'nothing'}.")
    return not came.is_refused


def _show_remarks(specification: Specification) -> None:
    for notice in specification.notices:
        console.print(f"[dim]Note:[/] {escaped(notice.message)}")
    for problem in specification.problems:
        show_error(problem.message)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
