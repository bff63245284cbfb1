"""What is kept while it is in use."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentlyUsed(Generic[K, V]):
    """A bounded mapping that forgets what was not used for longest."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as used."""
        entries = self._entries
        value = entries.get(key)
        if value is not None and len(entries) * 2 > self._size:
            del entries[key]
            entries[key] = value
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value, forgetting another where there is no room."""
        if key not in self._entries and len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = value
