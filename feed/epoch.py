"""The identity of the event log: another one wherever positions may come to mean other events.

A database that was restored from a backup, or a standby that was promoted before it had everything, lacks the newest
events, and gives their positions to others. So whoever relays makes sure, before anything else, that the log was last
written by the Postgres that holds it now, by what that says of itself: its system identifier, the timeline, which every
recovery to a point in time and every promotion begins anew, and the numbers of the database and of a table, which
pg_restore makes anew, be it on the same server. A log that begins another epoch goes on from the one
before: a cursor from before the change stays good, and one from after it is refused.

A copy of the files of a stopped Postgres looks like the original. A server that runs on while one is put back knows
that the log had more; where none does, whoever puts it back says so: `reliability-studio new-epoch`.
"""

from uuid import UUID

import asyncpg
import structlog

from db.connecting import DRIVER_ERRORS, driver_url, milliseconds
from db.event_log import BEGIN_EPOCH_SQL, CHANNEL, CLUSTER_SQL, REMEMBER_SQL, REMEMBERED_SQL
from db.observing import EVENT_LOG
from db.sessions import Session, session
from domain.errors import DatabaseUnavailable
from feed.cursor import Reach

log = structlog.get_logger("reliability_studio.epoch")

_STATEMENT_SECONDS = 30.0
_NO_HEAD = "The event log has no head: run `reliability-studio migrate`"


async def begin_epoch(url: str) -> tuple[UUID, int]:
    """Give the log of a database another identity; return it, and the newest position that both have.

    Raises DatabaseUnavailable.
    """
    settings = {"statement_timeout": milliseconds(_STATEMENT_SECONDS), "synchronous_commit": "on"}
    async with session(driver_url(url), EVENT_LOG, settings=settings) as connection:
        try:
            return await _begin(connection, await _cluster(connection))
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable from error


async def keep_epoch(connection: Session, known: Reach | None) -> None:
    """Begin an epoch if another Postgres wrote the log last, or if the log has less than what is known of it."""
    cluster = await _cluster(connection)
    row = await connection.fetchrow(REMEMBERED_SQL)
    if row is None:
        raise DatabaseUnavailable(_NO_HEAD)
    epoch, position, remembered = row
    has_lost = known is not None and known.epoch == epoch and known.position > position
    if remembered is None and cluster is not None:
        await connection.execute(REMEMBER_SQL, cluster)
    if has_lost or (remembered is not None and cluster is not None and remembered != cluster):
        epoch, position = await _begin(connection, cluster)
        log.warning(
            "the database was restored or promoted, the event log begins an epoch",
            epoch=str(epoch),
            position=position,
            cluster=cluster,
            before=remembered,
        )


async def _begin(connection: Session, cluster: str | None) -> tuple[UUID, int]:
    row = await connection.fetchrow(BEGIN_EPOCH_SQL, CHANNEL, cluster)
    if row is None:
        raise DatabaseUnavailable(_NO_HEAD)
    return row["epoch"], row["position"]


async def _cluster(connection: Session) -> str | None:
    """Which Postgres this is, where it says so: some hosts of Postgres keep it to themselves."""
    try:
        found: str = await connection.fetchval(CLUSTER_SQL)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError):
        return None
    return found
