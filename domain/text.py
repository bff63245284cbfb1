"""Text of people: what is kept, what is refused. What is refused raises ValidationFailed with the path given here."""

import re
import unicodedata
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from domain.errors import ValidationFailed
from domain.limits import KEY_CHARACTERS, NAME_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS, URL_CHARACTERS

Choice = TypeVar("Choice", bound=StrEnum)

_SURROGATE = re.compile("[\ud800-\udfff]")
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What Postgres cannot hold: NUL, and halves of surrogate pairs."""


def storable(value: object, label: str, *path: str, limit: int) -> str:
    """The text itself, when Postgres can hold it: at most `limit` characters, no NUL, no half of a surrogate pair."""
    if not isinstance(value, str):
        raise ValidationFailed(f"{label} must be text", path)
    if len(value) > limit:
        raise ValidationFailed(f"{label} is longer than {limit} characters", path)
    if "\0" in value:
        raise ValidationFailed(f"{label} holds a NUL character", path)
    if _SURROGATE.search(value):
        raise ValidationFailed(f"{label} is not valid Unicode: it holds half of a surrogate pair", path)
    return value


def line(value: object, label: str, *path: str, limit: int = TITLE_CHARACTERS) -> str:
    """One line that says something, without the spaces around it."""
    text = storable("" if value is None else _trimmed(value), label, *path, limit=limit)
    if not text:
        raise ValidationFailed(f"{label} is required", path)
    if not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text):
        raise ValidationFailed(f"{label} must be one line, without control characters", path)
    return text


def name(value: object, label: str, *path: str) -> str:
    """A short name: one printable line."""
    text = line(value, label, *path, limit=NAME_CHARACTERS)
    if not text.isprintable():
        raise ValidationFailed(f"{label} holds a character that cannot be printed", path)
    return text


def key(value: object, label: str, *path: str) -> str:
    """An identifier that somebody else made: a commit, an idempotency key."""
    return line(value, label, *path, limit=KEY_CHARACTERS)


def prose(value: object, label: str, *path: str) -> str:
    """Text of any shape, kept as it was written; nothing is empty text."""
    return "" if value is None else storable(value, label, *path, limit=TEXT_CHARACTERS)


def optional_prose(value: object, label: str, *path: str) -> str | None:
    """Text of any shape, kept as it was written; nothing stays nothing."""
    return None if value is None else prose(value, label, *path)


def required_prose(value: object, label: str, *path: str) -> str:
    """Text of any shape that says something."""
    text = prose(value, label, *path)
    if not text.strip():
        raise ValidationFailed(f"{label} is required", path)
    return text


def optional_url(value: object, label: str, *path: str) -> str | None:
    """A link that a browser can follow, http or https, or nothing."""
    if value is None:
        return None
    text = line(value, label, *path, limit=URL_CHARACTERS)
    try:
        parts = urlsplit(text)
        followable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        followable = False
    if not followable or any(character.isspace() for character in text):
        raise ValidationFailed(f"{label} must be a link that starts with http:// or https://", path)
    return text


def choice(choices: type[Choice], value: object, label: str, *path: str) -> Choice:
    """The member that is meant, in any case."""
    if isinstance(value, str):
        for member in choices:
            if member.value == value.strip().upper():
                return member
    if value is None:
        raise ValidationFailed(f"{label} is required", path)
    raise ValidationFailed(f"{label} must be one of {', '.join(choices)}", path)


def clipped(text: str, limit: int) -> str:
    """The beginning of a text of ours that grew too long for its column."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _trimmed(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def without_nul(value: str) -> str:
    """A text that somebody else wrote, as Postgres can hold it."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
