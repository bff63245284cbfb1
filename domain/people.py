"""Teams and users."""

import re

from domain.errors import ValidationFailed
from domain.text import name

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


def email_address(value: object, *path: str) -> str:
    """An address that mail could go to. Raises ValidationFailed."""
    address = name(value, "Email", *path)
    if not _ADDRESS.fullmatch(address):
        raise ValidationFailed("Email must be an address such as ada@example.org", path)
    return address
