"""Expressions of recording rules taken apart again: which window they look over, and what is divided by what."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from domain.objectives import WINDOW

_DURATION = re.compile(r"(?<![\w.])((?:[0-9]+(?:ms|[smhdwy]))+)(?![\w.])")
_RANGE = re.compile(r"\[([0-9a-z]+)(?=[:\]])")
_NUMBER = re.compile(r"[0-9.]+(?:e[+-]?[0-9]+)?")
_PIECE = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`|.', re.DOTALL)


def over_window(queries: Mapping[str, str]) -> str | None:
    """The one query of which these are made, WINDOW for the window. `queries` holds them by their windows ("5m").

    What differs between them is the window. None when something else differs too.
    """
    shortest = next(iter(queries))
    others = [window for window in queries if window != shortest]
    if not others:
        return _RANGE.sub(lambda found: f"[{WINDOW}" if found[1] == shortest else found[0], queries[shortest])
    ours, theirs = _DURATION.split(queries[shortest]), _DURATION.split(queries[others[0]])
    if len(ours) != len(theirs):
        return None
    parts = []
    for one, other in zip(ours, theirs, strict=True):
        if one == other:
            parts.append(one)
        elif one == shortest and other == others[0]:
            parts.append(WINDOW)
        else:
            return None
    return "".join(parts) if WINDOW in parts else None


def divided(query: str) -> tuple[str, str] | None:
    """What is divided by what, where a query is one plain division."""
    operators = [(at, sign) for at, sign in _top_level(query) if sign in "/*%^<>=!+-" or sign == "or"]
    if len(operators) != 1 or operators[0][1] != "/":
        return None
    at = operators[0][0]
    return bare(query[:at]), bare(query[at + 1 :])


def bare(query: str) -> str:
    """A query without the space and the parentheses around the whole of it."""
    query = query.strip()
    while query.startswith("(") and _closes_at_end(query):
        query = query[1:-1].strip()
    return query


def number(query: str) -> Decimal | None:
    """The number of `vector(0.999)`, `vector(1-0.999)` aside; without the noise of floats: nine digits count."""
    found = _NUMBER.findall(query)
    if len(found) != 1:
        return None
    return rounded(found[0])


def rounded(text: str) -> Decimal | None:
    """A number without the noise of floats."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return Decimal(f"{Decimal(f'{value:.9g}').normalize():f}") if value.is_finite() else None


def _closes_at_end(query: str) -> bool:
    depth = 0
    for piece in _PIECE.finditer(query):
        depth += (piece[0] == "(") - (piece[0] == ")")
        if depth == 0:
            return piece.end() == len(query)
    return False


def _top_level(query: str) -> list[tuple[int, str]]:
    """The pieces of a query outside all brackets, and where they are."""
    depth, found = 0, []
    for piece in _PIECE.finditer(query):
        text = piece[0]
        if depth == 0 and len(text) == 1:
            found.append((piece.start(), text))
        depth += (text in "([{") - (text in ")]}") if len(text) == 1 else 0
    words = [(found_word.start(), "or") for found_word in re.finditer(r"\bor\b", query, re.IGNORECASE)]
    outside = {at for at, _ in found}
    return found + [(at, word) for at, word in words if at in outside]
