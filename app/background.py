"""What runs beside the requests, for as long as the application does."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

log = structlog.get_logger("reliability_studio.background")

_PAUSE_SECONDS: Final = 1.0


@asynccontextmanager
async def in_background(works: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncGenerator[None]:
    """Run everything for as long as the block lasts. Each knows how to wait for a lost database by itself."""
    tasks = [asyncio.create_task(_keep_running(name, work), name=name) for name, work in works.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work failed unexpectedly, starting it again", work=name)
        await asyncio.sleep(_PAUSE_SECONDS)
