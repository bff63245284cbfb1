"""Teams and users."""

import re

from domain.errors import ValidationFailed
from domain.text import UNSTORABLE, name

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


def email_address(value: object, *path: str) -> str:
    """An address that mail could go to. Raises ValidationFailed."""
    address = name(value, "Email", *path)
    if not _ADDRESS.fullmatch(address):
        raise ValidationFailed("Email must be an address such as ada@example.org", path)
    return address


def is_same_address(one: str, other: str) -> bool:
    """Whether two addresses are one in another case.

    No letter beyond ASCII is the other case of one within: databases and programming languages have it that those of
    "K" (U+212A, of kelvin) and of the Turkish "İ" are k and i, and their mailboxes may be those of two people.
    """
    return _in_one_case(one) == _in_one_case(other)


def could_be_an_address(text: str) -> bool:
    """Whether it is worth asking a database for whoever has an address: it refuses what it cannot hold."""
    return UNSTORABLE.search(text) is None


def _in_one_case(address: str) -> str:
    return "".join(lower if (lower := it.lower()).isascii() == it.isascii() else it for it in address)
