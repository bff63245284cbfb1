"""Waiting for a condition, with a limit and a name for what never came."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(what: str, condition: Callable[[], Awaitable[bool]], *, within_seconds: float = 30.0) -> None:
    """Return as soon as `condition` holds; fail with `what` when it does not in time."""
    end = time.monotonic() + within_seconds
    while not await condition():
        assert time.monotonic() < end, f"{what}: not within {within_seconds:g} s"
        await asyncio.sleep(0.02)
