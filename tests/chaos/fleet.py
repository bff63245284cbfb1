"""Two servers on one Postgres, and everything that can happen to them."""

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx

from db.embedded import EmbeddedPostgres
from migrations.upgrade import upgrade
from tests.servers import ServerProcess
from tests.waiting import until

LEADS = "this process relays events now"
# The system survives, so nothing has to reach the disk; but what is committed is committed.
POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off"}
RECOVERY_SECONDS = 60
_NAMES = ("first", "second", "third")


class Slot:
    """A place in the fleet: one address, and the processes that serve it one after the other."""

    def __init__(self, name: str, database_url: str) -> None:
        self.name = name
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database_url = database_url
        self._process: ServerProcess | None = None

    @property
    def leadership_began_at(self) -> datetime | None:
        """When the running process became the relay's leader, if it ever did."""
        lines = self._process.log if self._process is not None else []
        times = [datetime.fromisoformat(line["time"]) for line in lines if line["event"] == LEADS]
        return times[-1] if times else None

    @property
    def unexpected_log_lines(self) -> list[dict[str, object]]:
        """What the running process has to say that it should never have to, whatever happens around it."""
        lines = self._process.log if self._process is not None else []
        return [line for line in lines if line["level"] == "error" and "exception" in line]

    async def start(self) -> None:
        """Start a process, which answers when this returns."""
        self._process = await ServerProcess(PORT=str(self.port), DATABASE_URL=self._database_url).__aenter__()

    async def stop(self, number: signal.Signals) -> None:
        """End the process."""
        if self._process is not None:
            await self._process.stop(number)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, and wait for nothing."""
        if self._process is not None:
            self._process.process.send_signal(number)


class Fleet:
    """The servers, and their Postgres."""

    def __init__(self, folder: Path, *, replicas: int = 2) -> None:
        self._folder = folder
        self._replicas = replicas
        self._postgres = self._new_postgres()
        self.slots: list[Slot] = []

    @property
    def database_url(self) -> str:
        """The servers' database."""
        return self._postgres.url

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The whole fleet, until the end of the block."""
        async with contextlib.AsyncExitStack() as stack:
            await self._postgres.start()
            stack.push_async_callback(self._stop_postgres)
            await upgrade(self.database_url)
            self.slots = [Slot(name, self.database_url) for name in _NAMES[: self._replicas]]
            for slot in self.slots:
                stack.push_async_callback(slot.stop, signal.SIGTERM)
            await asyncio.gather(*(slot.start() for slot in self.slots))
            await until(lambda: self.leader is not None)
            yield

    @property
    def leader(self) -> Slot | None:
        """Whose process was the last to become the relay's leader."""
        led = [(since, slot) for slot in self.slots if (since := slot.leadership_began_at) is not None]
        return max(led, key=lambda pair: pair[0])[1] if led else None

    async def kill_leader(self) -> float:
        """Kill the leader, start it again when the other has taken over, and return how long nobody led."""
        leader = self.leader
        assert leader is not None
        killed_at = datetime.now(UTC)
        await leader.stop(signal.SIGKILL)
        led_at = await self._taken_over(leader)
        await leader.start()
        return (led_at - killed_at).total_seconds()

    async def freeze_leader(self) -> float:
        """Let the leader hang until the other leads, go on as if nothing had happened; return how long nobody led."""
        leader = self.leader
        assert leader is not None
        frozen_at = datetime.now(UTC)
        leader.signal(signal.SIGSTOP)
        try:
            return (await self._taken_over(leader) - frozen_at).total_seconds()
        finally:
            leader.signal(signal.SIGCONT)

    async def _taken_over(self, former: Slot) -> datetime:
        """When another than this leader has become the leader."""
        await until(lambda: self.leader is not former, timeout_seconds=RECOVERY_SECONDS)
        leader = self.leader
        assert leader is not None
        led_at = leader.leadership_began_at
        assert led_at is not None
        return led_at

    async def kill_follower(self) -> None:
        """Kill whoever does not lead, and start it again."""
        for slot in self.slots:
            if slot is not self.leader:
                await slot.stop(signal.SIGKILL)
                await slot.start()

    async def replace_server(self, chance: random.Random) -> None:
        """Stop a server in an orderly way, as an upgrade does, and start it again."""
        slot = chance.choice(self.slots)
        await slot.stop(signal.SIGTERM)
        await slot.start()

    async def restart_postgres(self, number: signal.Signals, *, away_seconds: float = 0) -> None:
        """Stop Postgres by a signal, SIGQUIT for `immediate` and SIGINT for `fast`, and start it after a while."""
        os.kill(int((self._postgres.cluster / "postmaster.pid").read_text().split()[0]), number)
        await asyncio.sleep(away_seconds)
        crashed, self._postgres = self._postgres, self._new_postgres()
        await self._postgres.start()
        await crashed.stop()

    async def answers(self) -> bool:
        """Whether every server answers, with its database behind it."""
        async with httpx.AsyncClient(timeout=5) as client:
            for slot in self.slots:
                try:
                    answer = await client.get(f"{slot.url}/api/services?limit=1")
                except httpx.TransportError:
                    return False
                if answer.status_code != 200:
                    return False
        return True

    def _new_postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self._folder, settings=POSTGRES_SETTINGS)

    async def _stop_postgres(self) -> None:
        await self._postgres.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
