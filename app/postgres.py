"""Which Postgres a command works on."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from actions.recording import audit
from app.asgi import open_database
from app.auth.opening import first_admin
from app.clock import now
from app.demo import load
from app.settings import Settings, data_home
from app.terminal import console, counting, working
from db.embedded import EmbeddedPostgres, default_data_directory
from domain.access import Actor, Role
from feed.epoch import begin_epoch
from migrations.upgrade import Step, current, head, upgrade

_OTHER_CONNECTIONS = 10  # Of a process: the relay, the event log, the SLO evaluation, and what comes and goes.
_FEWEST_CONNECTIONS = 200

_OPERATOR = Actor(None, "command line", Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where the data is: a URL for the program, which may hold a password, and words for people."""

    url: str
    description: str


@asynccontextmanager
async def postgres(settings: Settings) -> AsyncGenerator[Postgres]:
    """The configured Postgres, or the embedded one while the block runs. Raises EmbeddedPostgresError."""
    url = settings.postgres_url()
    if url is not None:
        yield Postgres(url, "the configured Postgres")
        return
    folder = settings.data_dir or default_data_directory(home=Path.home(), xdg_data_home=data_home())
    embedded = EmbeddedPostgres(folder, settings={"max_connections": str(_connections_wanted(settings))})
    with working(f"Starting the embedded PostgreSQL in {embedded.directory}"):
        await embedded.start()
    try:
        yield Postgres(embedded.url, f"embedded PostgreSQL in {embedded.directory}, kept between runs")
    finally:
        with working("Stopping the embedded PostgreSQL"):
            await embedded.stop()


def _connections_wanted(settings: Settings) -> int:
    """How many connections an embedded Postgres has to allow: those of all workers, and some for people."""
    each = settings.db_pool_max_connections + settings.db_read_connections + _OTHER_CONNECTIONS
    # While workers are replaced, there is one more of them.
    return max(_FEWEST_CONNECTIONS, (settings.workers + 1) * each)


async def migrate(url: str) -> list[str]:
    """Bring the database to this version's tables and return what was applied. Raises MigrationError."""
    with counting("Migrating the database") as show:

        def progress(step: Step) -> None:
            show(step.number, step.total, step.description)

        applied = await upgrade(url, progress=progress)
    if applied:
        console.print(f"Migrated the database to revision {applied[-1]}.")
    elif (found := await current(url)) != head():
        console.print(f"A newer version has migrated the database to revision {found}, on which this one can run.")
    return applied


async def load_demo(settings: Settings, url: str) -> None:
    """Load the demo shop into a migrated database, unless it is there already."""
    database = await open_database(settings, url)
    try:
        with counting("Loading the demo shop") as show:
            added = await load(database, now=now(), progress=lambda what, done, total: show(done, total, what))
    finally:
        await database.close()
    if added:
        console.print(f"Loaded the demo shop: {added['services']} services, {added['incidents']} incidents.")
    else:
        console.print("The demo shop is there already.")


async def add_first_admin(settings: Settings, url: str) -> tuple[str, str] | None:
    """Add an admin at the first start, where nobody could sign in otherwise: their address and their password."""
    database = await open_database(settings, url)
    try:
        return await first_admin(settings, database)
    finally:
        await database.close()


async def load_configured_demo(settings: Settings) -> None:
    """Migrate the database that the settings name, and load the demo shop into it."""
    async with postgres(settings) as found:
        await migrate(found.url)
        await load_demo(settings, found.url)


async def migrate_configured(settings: Settings) -> None:
    """Migrate the database that the settings name, and say what was done."""
    async with postgres(settings) as found:
        if not await migrate(found.url):
            console.print("The database is up to date.")


async def begin_configured_epoch(settings: Settings) -> None:
    """Migrate the database that the settings name, and give its event log another identity."""
    async with postgres(settings) as found:
        await migrate(found.url)
        epoch, position = await begin_epoch(found.url)
        database = await open_database(settings, found.url)
        try:
            after = {"epoch": epoch, "position": position}
            action = "event_log.begin_epoch"
            await database.transact(
                lambda tx: audit(tx, actor=_OPERATOR, action=action, subject_id=None, after=after), now=now()
            )
        finally:
            await database.close()
        console.print(f"The event log goes on after position {position} as {epoch}.")
