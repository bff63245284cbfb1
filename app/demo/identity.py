"""Identifiers that are the same whenever the demo is loaded, so that it is known again."""

from hashlib import sha256
from uuid import UUID

# The time part of the UUIDv7s: 2026-01-01 in milliseconds. Ids must not depend on when somebody loads the demo.
_TIME = 1_767_225_600_000


def stable_id(*key: object) -> UUID:
    """The UUIDv7 of a thing in the demo, made from what it is."""
    digest = int.from_bytes(sha256("/".join(map(str, key)).encode()).digest()[:10])
    variant = (digest & ~(0b11 << 62) | 0b10 << 62) & ((1 << 64) - 1)
    return UUID(int=_TIME << 80 | 0x7 << 76 | (digest >> 64 & 0xFFF) << 64 | variant)


def fingerprint(*key: object) -> str:
    """The fingerprint of an alert as Alertmanager writes it: 16 hexadecimal digits."""
    return sha256("/".join(map(str, key)).encode()).hexdigest()[:16]
