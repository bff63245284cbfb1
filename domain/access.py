"""Who acts, and what they may do."""

from enum import StrEnum


class Role(StrEnum):
    """What a person or a token may do, each role including the ones before it."""

    VIEWER = "VIEWER"
    RESPONDER = "RESPONDER"
    ADMIN = "ADMIN"
