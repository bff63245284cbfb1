"""The parent of workers: starts them, starts them again when they die, replaces them one by one, and stops them.

uvicorn has a supervisor of its own. It restarts a worker by stopping it before the next one is there, which for one
worker's share of the connections means refusal, and has all of them wait on one socket (see `listeners`). It knows no
pause before the next attempt either.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket, socketpair
from typing import Final

import structlog

from app.processes.channel import Channel, Staffing
from app.processes.listeners import Listeners

log = structlog.get_logger("reliability_studio.supervisor")

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0  # Who lived for so long did not die of what kept it from starting.
_START_TIMEOUT_SECONDS: Final = 120.0
_GRACE_SECONDS: Final = 5.0  # What a worker gets to die beyond the time that it allows itself.


class WorkersDoNotStart(Exception):
    """A worker ended before it served; it has said why itself."""


class Child:
    """One process of a worker."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.started_at = asyncio.get_running_loop().time()
        self.is_serving = False
        self._ready = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    async def becomes_ready(self) -> bool:
        """Whether it serves, as soon as it does or is known not to."""
        exiting = asyncio.create_task(self.process.wait())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait((exiting, ready), timeout=_START_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exiting.cancel()
            ready.cancel()
        self.is_serving = self._ready.is_set() and self.process.returncode is None
        return self.is_serving

    async def ends(self) -> int:
        """The exit code, once there is one."""
        code = await self.process.wait()
        self.is_serving = False
        self._listening.cancel()
        self.channel.close()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it is dead already."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def stop(self, timeout_seconds: float) -> None:
        """Let it finish what runs, for as long as it may; then kill it."""
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(self.ends())), timeout_seconds)
        except TimeoutError:
            log.error("a worker did not stop in time, killing it", pid=self.process.pid)
            self.signal(signal.SIGKILL)
            await self.ends()

    async def _listen(self) -> None:
        async for message in self.channel.messages():
            if message.get("ready"):
                self._ready.set()


@dataclass(slots=True)
class Seat:
    """A worker's place, whichever process has it."""

    number: int
    sockets: list[socket]
    child: Child | None = None
    other: Child | None = None
    """Another process on the same sockets: one that is about to take over, or one that finishes what it began."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def close(self) -> None:
        """Get no more connections: what waits to be accepted is refused, and the rest goes to other workers."""
        for listener in self.sockets:
            listener.close()


class Supervisor:
    """`count` workers on one port."""

    def __init__(
        self,
        listeners: Listeners,
        command: Sequence[str],
        *,
        count: int,
        shutdown_timeout_seconds: float,
    ) -> None:
        """`command` starts a worker, and is given options that say which one it is."""
        self._listeners = listeners
        self._command = command
        self._patience_seconds = shutdown_timeout_seconds + _GRACE_SECONDS
        self._seats = [Seat(number, listeners.open()) for number in range(1, count + 1)]
        self._stopping = asyncio.Event()
        self._replacing: asyncio.Task[None] | None = None
        self._resources = AsyncExitStack()
        self._folder = Path()

    @property
    def staffing(self) -> Staffing:
        """How many workers there are."""
        serving = sum(seat.child is not None and seat.child.is_serving for seat in self._seats)
        return Staffing(len(self._seats), serving)

    async def run(self) -> None:
        """Keep the workers alive until told to stop, and all of them have ended."""
        keeping = [asyncio.create_task(self._keep(seat)) for seat in self._seats]
        try:
            await self._stopping.wait()
        finally:
            if self._replacing is not None:
                self._replacing.cancel()
                await asyncio.wait([self._replacing])
            for task in keeping:
                task.cancel()
            await asyncio.wait(keeping)
            await self._end()

    async def start(self) -> None:
        """Start all workers, at the same time. Raises WorkersDoNotStart when one does not come to serve."""
        self._folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="reliability-studio-")))
        try:
            for seat in self._seats:
                seat.child = await self._spawn(seat)
            children = [seat.child for seat in self._seats if seat.child is not None]
            stopping = asyncio.create_task(self._stopping.wait())
            starting = asyncio.gather(*(child.becomes_ready() for child in children))
            await asyncio.wait((stopping, starting), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not starting.done():
                starting.cancel()
            elif not all(starting.result()):
                raise WorkersDoNotStart
        except BaseException:
            await self._end()
            raise
        self._tell()

    def stop(self) -> None:
        """Stop all workers. Called again: do not wait for what runs."""
        if self._stopping.is_set():
            for child in self._children():
                child.signal(signal.SIGTERM)
        self._stopping.set()

    def replace_all(self) -> None:
        """Replace all workers by new ones, one after the other, without refusing anybody."""
        if self._replacing is not None and not self._replacing.done():
            log.warning("the workers are being replaced already")
        elif not self._stopping.is_set():
            self._replacing = asyncio.create_task(self._replace_all())

    async def _replace_all(self) -> None:
        log.info("replacing the workers one after the other")
        for seat in self._seats:
            async with seat.turn:
                former = seat.child
                if former is None:
                    continue  # It died and is started again: it will be a new one anyhow.
                # On the same sockets: whoever waits to be accepted when the former leaves is accepted by the new one.
                replacement = seat.other = await self._spawn(seat)
                if not await replacement.becomes_ready():
                    log.error("the new worker does not start, the former goes on", worker=seat.number)
                    await replacement.stop(self._patience_seconds)
                    return
                seat.child, seat.other = replacement, former
                self._tell()
                await former.stop(self._patience_seconds)
                seat.other = None
        log.info("all workers are replaced")

    async def _keep(self, seat: Seat) -> None:
        failures = 0
        while True:
            child = seat.child
            if child is None:
                child = seat.child = await self._spawn(seat)
                if not await child.becomes_ready():
                    child.signal(signal.SIGKILL)
                self._tell()
            code = await child.ends()
            async with seat.turn:
                if seat.child is not child:
                    continue
                seat.child = None
                seat.close()
                lived_seconds = asyncio.get_running_loop().time() - child.started_at
                failures = 1 if lived_seconds > _STEADY_SECONDS else failures + 1
                pause_seconds = min(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1), _LONGEST_PAUSE_SECONDS)
                log.error(
                    "a worker died, starting another",
                    worker=seat.number,
                    pid=child.process.pid,
                    exit_code=code,
                    pause_seconds=pause_seconds,
                )
                self._tell()
            await asyncio.sleep(pause_seconds)
            seat.sockets = self._listeners.open()

    async def _spawn(self, seat: Seat) -> Child:
        ours, theirs = socketpair()
        descriptors = [theirs.fileno(), *(listener.fileno() for listener in seat.sockets)]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *("--number", str(seat.number), "--count", str(len(self._seats)), "--folder", str(self._folder)),
                *("--channel", str(theirs.fileno())),
                *(option for fd in descriptors[1:] for option in ("--socket", str(fd))),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C is for us, and we tell them.
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        log.info("started a worker", worker=seat.number, pid=process.pid)
        return Child(process, await Channel.open(ours))

    async def _end(self) -> None:
        for seat in self._seats:
            seat.close()
        await asyncio.gather(*(child.stop(self._patience_seconds) for child in self._children()))
        await self._resources.aclose()

    def _children(self) -> list[Child]:
        return [
            child
            for seat in self._seats
            for child in (seat.child, seat.other)
            if child is not None and child.process.returncode is None
        ]

    def _tell(self) -> None:
        for child in self._children():
            child.channel.tell(self.staffing)


def command_of(*arguments: str) -> list[str]:
    """What starts this program with other arguments."""
    return [sys.executable, "-P", "-c", "from reliability_studio.launcher import main; main()", *arguments]
