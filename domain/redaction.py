"""What looks like a secret in a text that people will read, and the text without it.

Nothing of ours writes secrets on purpose. This is for what others say: a driver that quotes a URL, a traceback with
headers in it, a backend that repeats what it was sent.
"""

import re
from typing import Final

REDACTED: Final = "***"

_WORDS: Final = r"(?:password|passwd|secret|token|api[_-]?key|authorization|cookie|credentials?|jwt|x-grafana-id)"

SECRET_NAME: Final = re.compile(rf"(?:^|[_.-]){_WORDS}(?:s|$|_(?:hash|value))", re.IGNORECASE)
"""Names of members whose values are secrets, whatever they look like."""

_PATTERNS: Final = (
    # Tokens that are recognised by themselves: JSON Web Tokens, our own, and what follows the name of a scheme.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"), REDACTED),
    (re.compile(r"\brsr?_[\w-]{8,}"), REDACTED),
    (
        re.compile(r"\b([Bb]earer|[Bb]asic|BEARER|BASIC)(\s+|%20|\+)(?=[\w.~+/=-]*[A-Z0-9=_.])[\w.~+/=-]{6,}"),
        rf"\1\2{REDACTED}",
    ),
    # https://user:password@host
    (re.compile(r"(://[^\s:/@\"']*):[^\s@\"']+@"), rf"\1:{REDACTED}@"),
    # Authorization: ..., as a line, as Python shows pairs, as JSON
    (
        re.compile(
            r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-grafana-id)(\\*[\"']?\s*[:=,]\s*(?:b(?=[\"']))?\\*[\"']?)[^\"'\r\n\\]+",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}",
    ),
    # "password": "...", and the same within a text that is itself quoted
    (
        re.compile(rf"(\\*[\"'])([\w.-]*{_WORDS}[\w-]*)\1(\s*:\s*)\1(?:(?!\1)(?:\\.|[^\\]))*\1", re.IGNORECASE),
        rf"\1\2\1\3\1{REDACTED}\1",
    ),
    # password=..., as in connection strings and in URLs
    (re.compile(rf"\b([\w.-]*{_WORDS})=(?!\s)[^\s&,;#\"'\\]+", re.IGNORECASE), rf"\1={REDACTED}"),
)


def redact(text: str) -> str:
    """The text, with `***` for everything that looks like a secret."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
