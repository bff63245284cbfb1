"""The relay: one leader in the fleet gives every event of the outbox its place in the log.

Events get their places in the order in which they were written, which is that of cause and effect: who changes what
another has changed writes its event later. (The order of transaction ids is not: who waits for a row may have an older
id than whom it waits for.) An event is moved when nobody runs any more who may have written one before it. So places
are dense and final.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from db.connecting import DRIVER_ERRORS, driver_url, milliseconds
from db.event_log import CHANNEL, MOVE_SQL, OUTBOX_SQL, RELAY_LOCK
from db.observing import RELAY, Observer
from db.sessions import Session, session
from domain.errors import DatabaseUnavailable
from feed.epoch import keep_epoch
from feed.log import EventLog

log = structlog.get_logger("reliability_studio.relay")

CANDIDACY_SECONDS = 0.2
IDLE_SECONDS = 0.02
BUSY_SECONDS = 0.005
BATCH_ROWS = 1_000
RETRY_SECONDS = 0.2
STATEMENT_SECONDS = 30
HUNG_SECONDS = 0.6
"""A leader that says nothing for so long is replaced. Together with CANDIDACY_SECONDS that is less than a second."""

_SETTINGS: Final[Mapping[str, str]] = {
    "statement_timeout": milliseconds(STATEMENT_SECONDS),
    # A leader that hangs, rather than dies, loses the lock with its session.
    "idle_session_timeout": milliseconds(HUNG_SECONDS),
    # A place that a crash takes back would be given again, to another event.
    "synchronous_commit": "on",
}


@dataclass(slots=True)
class RelayState:
    """What the relay of this process is doing, for metrics and health."""

    is_leader: bool = False
    moved: int = 0
    failures: int = 0


class Relay:
    """Runs for leadership for as long as the process lives, and moves events while it leads."""

    def __init__(self, url: str, event_log: EventLog | None = None, *, observer: Observer | None = None) -> None:
        """`event_log` is how far this process has read the log: one that has less is another one."""
        self._url = driver_url(url)
        self._observer = observer
        self._event_log = event_log
        self.state = RelayState()

    async def run(self) -> None:
        """Until cancelled. A lost database is waited for."""
        while True:
            try:
                async with session(self._url, RELAY, settings=_SETTINGS, observer=self._observer) as connection:
                    await self._stand(connection)
            except (DatabaseUnavailable, *DRIVER_ERRORS) as error:
                self.state.failures += 1
                log.warning("the relay lost the database, trying again", reason=type(error).__name__)
            finally:
                self.state.is_leader = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _stand(self, connection: Session) -> None:
        while not await connection.fetchval("select pg_try_advisory_lock($1)", RELAY_LOCK):  # noqa: ASYNC110 # held elsewhere
            await asyncio.sleep(CANDIDACY_SECONDS)
        await keep_epoch(connection, self._event_log.reach if self._event_log is not None else None)
        self.state.is_leader = True
        log.info("this process relays events now")
        look, move = await connection.repeated(OUTBOX_SQL), await connection.repeated(MOVE_SQL)
        horizon = Horizon()
        while True:
            ((waits, drawn, oldest),) = await look.fetch()
            horizon.look(oldest)
            moved = 0
            if waits:
                ((moved, own),) = await move.fetch(BATCH_ROWS, CHANNEL, horizon.settled)
                horizon.watch(drawn, own)
                self.state.moved += moved
            if moved < BATCH_ROWS:
                await asyncio.sleep(BUSY_SECONDS if waits else IDLE_SECONDS)


class Horizon:
    """Up to which number of the outbox no event can appear any more.

    Numbers are drawn before their events can be seen, and not in the order of commits. But whoever has drawn one has a
    transaction id: once a number is known to be drawn, all have to end whose id is older than one that is made then.
    """

    def __init__(self) -> None:
        self.settled = 0
        """Every event up to this number is there, or never will be."""
        self._watched: deque[tuple[int, int]] = deque()

    def watch(self, drawn: int, xid: int) -> None:
        """Wait for everybody who can have drawn a number up to this one: those older than a transaction begun since."""
        self._watched.append((drawn, xid))

    def look(self, oldest: int) -> None:
        """Take the oldest transaction that runs now."""
        while self._watched and self._watched[0][1] <= oldest:
            self.settled = self._watched.popleft()[0]
