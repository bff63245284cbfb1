"""What a backend is asked over HTTP."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote_plus, urlencode

Parameters = Mapping[str, str | list[str]]

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

_OTHERS = re.compile("[^A-Za-z0-9_.~-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. Two that are equal ask the same.

    `deadline_parameter` is the name under which the backend wants to be told how many seconds we will listen; it is
    added when the call is made, and so does not tell apart what is otherwise the same question.
    """

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    content_type: str | None = None
    accept: str = JSON
    deadline_parameter: str | None = None

    def within(self, seconds: float) -> tuple[tuple[tuple[str, str], ...], bytes | None]:
        """Its parameters and content, for a caller that listens for `seconds`."""
        if self.deadline_parameter is None:
            return self.parameters, self.content
        bound = (self.deadline_parameter, f"{max(seconds, 0.001):.3f}")
        if self.content_type != FORM:
            return (*self.parameters, bound), self.content
        return self.parameters, b"&".join(filter(None, (self.content, urlencode([bound]).encode())))


def pairs(parameters: Parameters | None) -> tuple[tuple[str, str], ...]:
    """Parameters one by one, in their order. Raises UnicodeEncodeError for what is no text."""
    flat = []
    for name, value in (parameters or {}).items():
        for item in value if isinstance(value, list) else [value]:
            item.encode()
            flat.append((name, item))
    return tuple(flat)


def form_content(form: Parameters) -> bytes:
    """A form as the body of a request. Raises UnicodeEncodeError for what is no text."""
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs(form)).encode("ascii")


def _quoted(text: str) -> str:
    """As `quote_plus`, which looks at every character by itself; queries for many services are long."""
    return _OTHERS.sub(lambda found: _escaped(found[0]), text)


@lru_cache(maxsize=1024)
def _escaped(text: str) -> str:
    return quote_plus(text)
