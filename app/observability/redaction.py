"""Keeps secrets out of what the process writes, whoever writes it: the one place that every line passes."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from structlog.typing import EventDict, WrappedLogger

from domain.redaction import REDACTED, SECRET_NAME, redact

_SHORTEST: Final = 6  # What is shorter stands in ordinary words, and is no secret worth the name.
_MOST_LEVELS: Final = 8
_CACHED_CHARACTERS: Final = 200


class Redactor:
    """Knows what secrets look like, and the secrets that the settings hold word for word."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        forms = {form for secret in known if len(secret) >= _SHORTEST for form in (secret, quote(secret, safe=""))}
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)") if forms else None
        self._cached = lru_cache(maxsize=512)(self._redacted)

    def text(self, text: str) -> str:
        """A text without secrets. Short ones are remembered, because the same paths come again and again."""
        return self._cached(text) if len(text) <= _CACHED_CHARACTERS else self._redacted(text)

    def members(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """A processor of structlog: an event whose members with telling names say nothing."""
        return {name: _without_secrets(name, value, _MOST_LEVELS) for name, value in event.items()}

    def line(self, _logger: WrappedLogger, _method: str, line: Any) -> str:
        """A processor of structlog, the last: a finished line without secrets."""
        return self._redacted(line)

    def _redacted(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        return redact(text)


def _without_secrets(name: object, value: Any, levels: int) -> Any:
    if isinstance(name, str) and not isinstance(value, bool | int | float | None) and SECRET_NAME.search(name):
        return REDACTED
    if levels and isinstance(value, Mapping):
        return {key: _without_secrets(key, member, levels - 1) for key, member in value.items()}
    return value
