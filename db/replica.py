"""A read replica (a standby in streaming replication): which reads it may answer, and whether it can at the moment.

Whoever has written knows the primary's position in its write-ahead log (LSN) right after, and names it when they read:
the replica answers once it has replayed so far, otherwise the primary does. The position is asked for on the very
connection that reads, before the read begins, so that a name which stands for several standbys is no trap.

What has to do with the event log is never asked here. A cursor that joins a snapshot to a stream (`asOfCursor`) says
which transactions the snapshot has seen, and `pg_current_snapshot()` does not know this on a standby: the transactions
that run on the primary are kept elsewhere than it looks, so it would call them all seen. And an event that has just
been told may not have arrived here.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import asyncpg
import orjson
import structlog

from db.read_connection import Behind
from db.read_pool import ReadPool
from domain.errors import DatabaseUnavailable, DeadlineExceeded

log = structlog.get_logger("reliability_studio.replica")

POLL_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 1.0

POSITION_SQL: Final = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint::text"
"""The end of everything that has been written on the primary, as a number."""
_SENT_SQL: Final = "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint::text"
"""The end of what a standby can have got of it. (The position above may lie behind the head of an empty page.)"""
_STANDBY_SQL: Final = """
select json_build_array(
  pg_is_in_recovery(),
  coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0),
  extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
)::text
"""

ALWAYS_PRIMARY: Final = 2**63 - 1
"""A position that no replica ever reaches."""


class NotHere(Exception):
    """The primary has to answer this read."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """Whether the replica is asked, why not, and how many seconds it is behind, as far as that is known."""

    is_usable: bool
    reason: str = ""
    lag_seconds: float = inf


class Replica:
    """The standby's connections, and what is known of it. `run` keeps that up to date."""

    def __init__(self, reads: ReadPool, primary: ReadPool, *, most_lag_seconds: float) -> None:
        self.reads = reads
        self.state = ReplicaState(is_usable=False, reason="It has not been asked yet")
        self.answers: Counter[str] = Counter({"replica": 0, "behind": 0, "unusable": 0, "failed": 0})
        """How reads ended: answered here; or by the primary, because the replica lacked what the reader had written,
        was away or too far behind, or failed.
        """
        self._primary = primary
        self._most_lag_seconds = most_lag_seconds
        self._memory_seconds = 2 * most_lag_seconds + 60
        self._sent: deque[tuple[float, int]] = deque()
        """When the primary was where, for as far back as matters."""

    async def fetch_text(
        self, sql: str, arguments: Sequence[object], *, timeout_seconds: float, after: int = 0
    ) -> bytes | None:
        """As `ReadPool.fetch_text`, on a state that has everything up to the position `after`. Raises NotHere."""
        if not self.state.is_usable or after == ALWAYS_PRIMARY:
            self.answers["behind" if self.state.is_usable else "unusable"] += 1
            raise NotHere
        try:
            text = await self.reads.fetch_text(sql, arguments, timeout_seconds=timeout_seconds, after=after)
        except Behind as error:
            self.answers["behind"] += 1
            raise NotHere from error
        except DeadlineExceeded:
            raise
        except (DatabaseUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Replay goes before reads (a "conflict with recovery"), and a migration may not have arrived yet.
            self.answers["failed"] += 1
            log.info("a read failed on the replica, asking the primary", reason=type(error.__cause__ or error).__name__)
            raise NotHere from error
        self.answers["replica"] += 1
        return text

    async def run(self) -> None:
        """Look after the replica until cancelled."""
        while True:
            before, self.state = self.state, await self._look()
            if before.is_usable != self.state.is_usable:
                tell = log.info if self.state.is_usable else log.warning
                tell("reads go to the replica" if self.state.is_usable else "reads go to the primary", **self._words())
                if not self.state.is_usable:
                    self.reads.break_off()
            await asyncio.sleep(POLL_SECONDS)

    def _words(self) -> dict[str, object]:
        return {"reason": self.state.reason} if self.state.reason else {"lag_seconds": round(self.state.lag_seconds, 3)}

    async def _look(self) -> ReplicaState:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            sent = await self._primary.fetch_text(_SENT_SQL, (), timeout_seconds=ANSWER_SECONDS)
            self._sent.append((asked_at, int(sent or b"0")))
        except (DatabaseUnavailable, DeadlineExceeded):
            pass  # Reads of the replica can go on without the primary, from where it was.
        try:
            text = await self.reads.fetch_text(_STANDBY_SQL, (), timeout_seconds=ANSWER_SECONDS)
        except (DatabaseUnavailable, DeadlineExceeded, asyncpg.PostgresError, asyncpg.InterfaceError):
            return ReplicaState(is_usable=False, reason="It does not answer")
        is_standby, replayed, age_seconds = orjson.loads(text or b"[false, 0, null]")
        if not is_standby:
            return ReplicaState(is_usable=False, reason="It is not a standby")
        lag_seconds = self._lag_seconds(replayed, age_seconds, loop.time())
        if lag_seconds > self._most_lag_seconds:
            reason = f"It is {lag_seconds:.1f} s behind, and may be {self._most_lag_seconds:g} s"
            return ReplicaState(is_usable=False, reason=reason, lag_seconds=lag_seconds)
        return ReplicaState(is_usable=True, lag_seconds=lag_seconds)

    def _lag_seconds(self, replayed: int, age_seconds: float | None, now: float) -> float:
        """How long ago the primary was where the replica is. Compares no clocks, and an idle primary is no lag.

        Where that was before anybody looked, what the replica replayed last is `age_seconds` old by its own clock.
        """
        sent = self._sent
        while len(sent) > 1 and (sent[1][1] <= replayed or sent[1][0] < now - self._memory_seconds):
            sent.popleft()
        if not sent:
            return inf
        if sent[-1][1] <= replayed:
            return 0.0
        since = now - sent[0][0]
        return since if sent[0][1] <= replayed else max(since, inf if age_seconds is None else age_seconds)
