"""Hashes of passwords: argon2id (RFC 9106), off the event loop, and only so many at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import TooManyRequests

Result = TypeVar("Result")

# OWASP's first choice for argon2id: 46 MiB, one pass, one lane.
_HASHER: Final = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)
_THREADS: Final = 2
_MOST_WAITING: Final = 32


class Passwords:
    """Hashes and compares passwords. A hash takes tens of milliseconds of CPU, so that whoever floods it is refused."""

    def __init__(self, hasher: PasswordHasher = _HASHER) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="password")
        self._waiting = 0
        self._nobodys_hash: str | None = None

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """A new hash. Raises TooManyRequests."""
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, known: str | None, password: str) -> tuple[bool, str | None]:
        """Whether a password is the one of a hash, and the hash to keep instead, if there is a better one.

        Takes as long where there is none, so that time does not tell who has a password. Raises TooManyRequests.
        """
        return await self._run(lambda: self._compare(known, password))

    def _compare(self, known: str | None, password: str) -> tuple[bool, str | None]:
        if self._nobodys_hash is None:
            self._nobodys_hash = self._hasher.hash("nobody's password")
        try:
            self._hasher.verify(known or self._nobodys_hash, password)
        except (VerificationError, InvalidHashError):
            return False, None
        if known is None:
            return False, None
        return True, self._hasher.hash(password) if self._hasher.check_needs_rehash(known) else None

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= _MOST_WAITING:
            raise TooManyRequests(
                "Too many people sign in at the moment, try again", limit="sign-ins", retry_after_seconds=2
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
