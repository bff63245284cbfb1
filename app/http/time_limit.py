"""The time that a request may take, kept for all running requests by one timer.

`asyncio.timeout` arms and disarms a timer of its own for each request, which costs more than reading its body does. As
all requests get the same time, they run out of it in the order in which they came.
"""

import asyncio
from typing import Any


class Watch:
    """One running request. `is_over` once its time was up and its task was cancelled for that."""

    __slots__ = ("due", "is_over", "task")

    def __init__(self, task: "asyncio.Task[Any]", due: float) -> None:
        self.task = task
        self.due = due
        self.is_over = False


class TimeLimit:
    """Cancels the task of a request that takes longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: dict[Watch, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> Watch:
        """Watch the current task from now on. Every watch must be ended."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only tasks can be watched")
        loop = task.get_loop()
        watch = Watch(task, loop.time() + self.seconds)
        self._running[watch] = None
        if self._timer is None:
            self._timer = loop.call_at(watch.due, self._sweep, loop)
        return watch

    def end(self, watch: Watch) -> None:
        """Stop watching. A cancellation that came from here is taken back, so that the task can go on to answer."""
        if watch.is_over:
            watch.task.uncancel()
        else:
            del self._running[watch]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._running:
            watch = next(iter(self._running))
            if watch.due > now:
                self._timer = loop.call_at(watch.due, self._sweep, loop)
                return
            del self._running[watch]
            watch.is_over = True
            watch.task.cancel()
