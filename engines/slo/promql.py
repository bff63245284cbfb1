"""PromQL as people write it, read as text: what it selects, over which windows, and the same over another window.

The parser judges whether a query is PromQL. Rewriting works on the text, because the parser's own output loses the
escapes of strings; so whatever is not rewritten stays letter for letter as it was given.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import promql_parser

from domain.errors import ValidationFailed
from domain.limits import QUERY_CHARACTERS
from domain.objectives import WINDOW

_PLACEHOLDER = re.compile(r"\$\{?window\}?|\$__window|\{\{-?\s*\.\s*window\s*-?\}\}")
_TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    r"|(?P<comment>\#[^\n]*)"
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?[a-z0-9]*|\.[0-9]+(?:[eE][+-]?[0-9]+)?))"
    r"|(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"|(?P<space>\s+)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_LABEL_LISTS: Final = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
_WORDS: Final = _LABEL_LISTS | {"offset", "bool", "and", "or", "unless", "atan2", "inf", "nan", "start", "end"}
_PER_SECOND: Final = frozenset(("rate", "irate"))
_COUNTING: Final = _PER_SECOND | {"increase"}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query: its kind, its text and where it begins."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next piece begins."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Selector:
    """Series that a query selects: where the selector begins, ends, and where its range and modifiers end.

    `range` is the text within the brackets, None for an instant selector. `function` is the name right before it, as in
    `rate(x[5m])`, which begins at `function_start`.
    """

    start: int
    end: int
    whole_end: int
    range: str | None
    function: str | None
    function_start: int


def duration(seconds: float) -> str:
    """A PromQL duration in its largest whole unit, as in `5m`, `3d` or `1500ms`."""
    for unit_seconds, unit in _UNITS:
        if seconds >= unit_seconds and seconds % unit_seconds == 0:
            return f"{seconds // unit_seconds:.0f}{unit}"
    return f"{round(seconds * 1000)}ms"


def number(value: object) -> str:
    """A number as Go prints it in a label or a query, without an exponent where it can."""
    return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"


def has_window(query: str) -> bool:
    """Whether the query says somewhere that it wants to be told the window."""
    return _PLACEHOLDER.search(query) is not None


def with_window(query: str, window: str) -> str:
    """The query with `window` ("5m") wherever it says WINDOW, or `{{.window}}`."""
    return _PLACEHOLDER.sub(window, query)


def normalized(query: str) -> str:
    """The query with WINDOW for every way to say it."""
    return _PLACEHOLDER.sub(WINDOW, query)


def check(query: str, label: str, *path: str) -> str:
    """The query itself, when it is PromQL that returns a vector. Raises ValidationFailed with the parser's words."""
    if not query.strip():
        raise ValidationFailed(f"{label} is empty: give a PromQL query", path)
    if len(query) > QUERY_CHARACTERS:
        raise ValidationFailed(f"{label} is longer than {QUERY_CHARACTERS} characters", path)
    try:
        parsed = promql_parser.parse(with_window(query, "5m"))
    except ValueError as error:
        raise ValidationFailed(f"{label} is not PromQL: {error}", path) from error
    # A wrong nesting makes the parser panic, which is no Exception of Python's; its type says only what it is not.
    if isinstance(parsed, promql_parser.NumberLiteral | promql_parser.StringLiteral):
        raise ValidationFailed(f"{label} is a constant and selects no series", path)
    if isinstance(_unwrapped(parsed), promql_parser.MatrixSelector):
        raise ValidationFailed(f"{label} ends in a range: leave the range away, or take the increase over it", path)
    return query


def bare(query: str) -> str:
    """The query without comments and the space around it: what can be put into another query."""
    if "#" not in query:
        return query.strip()
    return "".join(token.text for token in _tokens(query) if token.kind != "comment").strip()


def is_selector(query: str) -> bool:
    """Whether the query is one instant selector and nothing else, as in `http_requests_total{code="500"}`."""
    found = selectors(query)
    return len(found) == 1 and found[0].range is None and bare(query) == query[found[0].start : found[0].end]


def selectors(query: str) -> list[Selector]:
    """The selectors of a query, in their order."""
    tokens = [token for token in _tokens(query) if token.kind not in ("space", "comment")]
    found = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        following = tokens[at + 1].text.lower() if at + 1 < len(tokens) else ""
        if token.kind == "word" and token.text.lower() in _LABEL_LISTS:
            at = _after(tokens, at + 1, "(", ")") if following == "(" else at + 1
        elif token.kind == "word" and token.text.lower() == "offset":
            at += 2
        elif token.text == "[":
            at = _after(tokens, at, "[", "]")
        elif token.kind == "word" and following in ("by", "without"):  # sum by (team) (...)
            at += 1
        elif (token.kind == "word" and following != "(" and token.text.lower() not in _WORDS) or token.text == "{":
            selector, at = _selector(query, tokens, at)
            found.append(selector)
        else:
            at += 1
    return found


def increase(selector: str, window: str, witness: str) -> str:
    """The increase of counters over a window, as in "5m", from zero where a series appeared meanwhile.

    A counter that appears with its first events has no earlier value to compare with, and Prometheus takes these events
    for nothing. They count here, wherever `witness` (a selector, mostly of all events) says that the target was seen
    before: then the series is new, and not merely new to this Prometheus.
    """
    new = f"{selector} unless {selector} offset {window} and on (job, instance) {witness} offset {window}"
    return f"({new} or increase({selector}[{window}]))"


def counters(query: str) -> list[str]:
    """The selectors of counters that a query takes rates or increases of, or that stand alone, without modifiers."""
    return [
        query[selector.start : selector.end]
        for selector in selectors(query)
        if selector.range is None or selector.function in _COUNTING
    ]


def over(query: str, window: str, *, as_counts: bool, witness: str | None = None) -> str:
    """A query of counters over a window, as in "5m".

    WINDOW becomes the window; where a query never says WINDOW, every range of a rate or increase does, and every
    instant selector becomes its increase. With `as_counts` rates become increases, so that the result counts events;
    and with a `witness` what is new counts from zero, as `increase` has it.
    """
    told = has_window(query)
    text = with_window(bare(query), window)

    def rewritten(selector: Selector) -> tuple[int, int, str]:
        kept = text[selector.start : selector.end]
        if selector.range is None:
            if told:
                return selector.start, selector.end, kept
            modifiers = text[selector.end : selector.whole_end]
            if witness is not None and as_counts and not modifiers:
                return selector.start, selector.whole_end, increase(kept, window, witness)
            return selector.start, selector.whole_end, f"increase({kept}[{window}]{modifiers})"
        range = window if not told and selector.function in _COUNTING else selector.range
        tail = text[selector.end : selector.whole_end]
        modifiers = tail[tail.index("]") + 1 :]
        tail = f"[{range}]{modifiers}"
        closing = text.find(")", selector.whole_end) + 1
        is_plain = as_counts and selector.function in _COUNTING and range == window and not modifiers
        if is_plain and witness is not None and not text[selector.whole_end : closing - 1].strip():
            return selector.function_start, closing, increase(kept, window, witness)
        if as_counts and selector.function in _PER_SECOND:
            between = text[selector.function_start + len(selector.function or "") : selector.start]
            return selector.function_start, selector.whole_end, f"increase{between}{kept}{tail}"
        return selector.start, selector.whole_end, kept + tail

    return _replaced(text, rewritten)


def _replaced(text: str, rewritten: Callable[[Selector], tuple[int, int, str]]) -> str:
    parts, done = [], 0
    for start, end, replacement in map(rewritten, selectors(text)):
        parts += [text[done:start], replacement]
        done = end
    return "".join([*parts, text[done:]])


def _selector(query: str, tokens: list[Token], at: int) -> tuple[Selector, int]:
    """The selector that begins with the token at `at`, and where the next piece of the query is."""
    first = tokens[at]
    after = at if first.text == "{" else at + 1
    if after < len(tokens) and tokens[after].text == "{":
        after = _after(tokens, after, "{", "}")
    end = tokens[after - 1].end
    range = None
    if after < len(tokens) and tokens[after].text == "[":
        closed = _after(tokens, after, "[", "]")
        range = query[tokens[after].end : tokens[closed - 1].start]
        after = closed
    while after < len(tokens) and tokens[after].text.lower() in ("offset", "@"):
        after += 2
        if tokens[after - 1].text in "+-":  # offset -5m
            after += 1
        if after < len(tokens) and tokens[after].text == "(":  # @ end()
            after = _after(tokens, after, "(", ")")
    whole_end = tokens[min(after, len(tokens)) - 1].end
    function = tokens[at - 2] if at >= 2 and tokens[at - 1].text == "(" and tokens[at - 2].kind == "word" else None
    name = function.text if function is not None and function.text.lower() not in _WORDS else None
    return Selector(first.start, end, whole_end, range, name, function.start if function and name else -1), after


def _after(tokens: list[Token], at: int, opening: str, closing: str) -> int:
    """Where the piece after the bracket that opens at `at` is."""
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place].text == opening) - (tokens[place].text == closing)
        if depth == 0:
            return place + 1
    return len(tokens)


def _tokens(query: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(query):
        yield Token(match.lastgroup or "sign", match.group(), match.start())


def _unwrapped(parsed: promql_parser.Expr) -> promql_parser.Expr:
    while isinstance(parsed, promql_parser.ParenExpr):
        parsed = parsed.expr
    return parsed
