"""Identifiers that the application makes."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7: unique without asking anybody, and later ones sort after earlier ones."""
    return uuid7()
