"""Waiting for a condition, instead of for a time."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], *, timeout_seconds: float = 60) -> None:
    """Return when the condition holds; TimeoutError when it still does not after the time."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)
