"""What the commands for analyses do with the database that the settings name."""

from uuid import UUID

from rich.table import Table

from actions.replays import Replay, replay
from app.asgi import open_database
from app.failures import Failure
from app.postgres import migrate, postgres
from app.settings import Settings
from app.terminal import console, escaped
from domain.errors import NotFound
from engines.correlation.findings import Analysis

_MOST_CAUSES = 5


async def replay_stored(settings: Settings, analysis_id: UUID) -> Replay:
    """Answer the evidence of a stored analysis again."""
    async with postgres(settings) as found:
        await migrate(found.url)
        database = await open_database(settings, found.url)
        try:
            async with database.reading() as connection:
                return await replay(connection, analysis_id)
        except NotFound as error:
            raise Failure(f"{error}. Evidence is kept of the last 20 analyses of each incident.") from error
        finally:
            await database.close()


def show(given: Replay) -> None:
    """Show both answers, and whether they are the same."""
    console.print(
        f"Analysis {given.analysis_id} of INC-{given.incident_number}, evidence {given.evidence_digest}", soft_wrap=True
    )
    table = Table("rank", "then", "", "now", "", box=None, pad_edge=False)
    for rank, (then, now) in enumerate(zip(_causes(given.then), _causes(given.now), strict=True), start=1):
        if then or now:
            table.add_row(str(rank), *(then or ("", "")), *(now or ("", "")))
    console.print(table)
    if given.is_same:
        console.print(f"The same answer, byte for byte ({given.digest_now}).", soft_wrap=True)
    elif given.has_other_engine:
        versions = f"{given.then.engine_version} then, {given.now.engine_version} now"
        console.print(f"Another answer, by another engine: {versions}.", soft_wrap=True)
    else:
        console.print(
            f"Another answer by the same engine {given.now.engine_version}: {given.digest_then} then,"
            f" {given.digest_now} now. The stored record was changed, or this is a defect.",
            soft_wrap=True,
        )


def _causes(analysis: Analysis) -> list[tuple[str, str] | None]:
    """The first causes, each with its score, and None for those that there are not."""
    found: list[tuple[str, str] | None] = [
        (escaped(f"{cause.kind.lower()} at {cause.service}"), f"{cause.score:.2f}")
        for cause in analysis.causes[:_MOST_CAUSES]
    ]
    return [*found, *[None] * (_MOST_CAUSES - len(found))]
