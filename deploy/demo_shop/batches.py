"""Sending telemetry in batches, beside the work and never in its way."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx

log = logging.getLogger(__name__)

_MOST_WAITING: Final = 5_000
_MOST_IN_BATCH: Final = 500
_PAUSE_SECONDS: Final = 1.0


class Batches:
    """A bounded queue of what is to be posted to a URL as JSON. What is too much or refused is dropped and counted."""

    def __init__(self, http: httpx.AsyncClient, url: str, encode: Callable[[Sequence[Any]], Any]) -> None:
        self._http = http
        self._url = url
        self._encode = encode
        self._waiting: deque[Any] = deque()
        self._is_away = False
        self.dropped = 0

    def add(self, item: Any) -> None:
        """Send it with the next batch."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(item)

    async def run(self) -> None:
        """Send until cancelled, and then what is left."""
        try:
            while True:
                await asyncio.sleep(_PAUSE_SECONDS)
                await self.flush()
        finally:
            with suppress(asyncio.CancelledError):
                await self.flush()

    async def flush(self) -> None:
        """Send what waits."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_IN_BATCH))]
            try:
                answer = await self._http.post(self._url, json=self._encode(batch))
                answer.raise_for_status()
            except httpx.HTTPError as error:
                self.dropped += len(batch)
                self._say(away=True, why=str(error) or type(error).__name__)
            else:
                self._say(away=False, why="")

    def _say(self, *, away: bool, why: str) -> None:
        """One line when it goes away, and one when it is back."""
        if away and not self._is_away:
            log.warning("%s does not take telemetry, which is dropped until it does: %s", self._url, why)
        elif self._is_away and not away:
            log.warning("%s takes telemetry again", self._url)
        self._is_away = away
