"""Templates of log lines: what stays the same in lines that differ in numbers, names and ids.

Drain (He, Zhu, Zheng, Lyu: "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017): lines are masked
and cut into tokens, a tree of fixed depth leads by their number and the first of them to a few candidates, and the most
similar candidate takes the line and gives up the tokens that differ. Levels are kept apart, so that a template has one;
so are the places in the code that lines name, because each statement there says its own thing however alike two are.
Whoever edits a file moves the statements below: those that say the same in another line of it can be united.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from operator import eq

from domain.telemetry import LogLevel

ANYTHING = "<_>"
"""What stands for a part that varies, as in the patterns of Loki."""

_VARIABLE = re.compile(
    r"""
    (?<![A-Za-z0-9_<])(?:
        [0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}                                     # UUIDs
      | \d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?             # dates and times
      | \d\d:\d\d:\d\d(?:[.,]\d+)?
      | \d{1,3}(?:\.\d{1,3}){3}(?::\d+)?                                                         # IPv4, with a port
      | (?=[0-9a-fA-F:]*::|(?:[0-9a-fA-F]{1,4}:){7})[0-9a-fA-F:]{2,39}                           # IPv6
      | 0[xX][0-9a-fA-F]+
      | (?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{6,}                                # hexadecimal ids
      | [-+]?(?:\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?)  # numbers, with units
        (?:(?:ns|us|µs|ms|s|m|h|d|%|[kKMGT]?i?[bB]|/s)(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m))*)?
    )(?![A-Za-z0-9_])
    """,
    re.VERBOSE,
)
_LOCATION = re.compile(
    r"""
    (?<![\w.$/-])(?:
        [A-Za-z_$][\w$]*(?:\.[\w$\[\]]+)+\#\d{1,5}                          # a logger and a line: o.s.OrderService#42
      | [\w$./-]*\w\.                                                       # a file and a line: pay/card.go:42
        (?:java|kt|scala|groovy|py|go|rs|js|ts|rb|php|cs|cc|cpp|c|ex):\d{1,5}
    )(?![\w.])
    """,
    re.VERBOSE,
)
_MAY_BE_LOCATED = re.compile(r"[a-z]:\d")
"""What every file with a line has in it, and is found in a fifth of the time: most lines name no place in the code."""
_LINE_NUMBER = re.compile(r"(?<=[:#])\d+$")
_TOKEN = re.compile(r"[^\s,;&=:|]*(?:[,;&=:|]+\s*|\s+|$)")
_SPACE = re.compile(r"\s+")
_DIGIT = re.compile(r"\d")
_LOCATED_WITHIN = 200
"""How many characters at the beginning of a line are looked through for the place in the code."""
_END = re.compile(r"[\s,;&=:|]*$")


@dataclass(slots=True)
class LogTemplate:
    """What some lines have in common. `id` stays the same when the text becomes more general.

    `sample` is the first of them that came; `counts` are by the start of a bucket, in seconds since 1970, where buckets
    are wanted.
    """

    id: str
    level: LogLevel
    tokens: list[str]
    sample: str
    sample_at: datetime
    first_seen_at: datetime
    last_seen_at: datetime
    count: int = 0
    counts: OrderedDict[int, int] = field(default_factory=OrderedDict)
    path: tuple[object, ...] = ()
    successor: "LogTemplate | None" = None
    has_moved: bool = False
    """Whether its lines named several lines of code, one after the other was edited."""

    @property
    def latest(self) -> "LogTemplate":
        """The template that its lines have now: another one, where it has become equal to that."""
        template = self
        while template.successor is not None:
            template = template.successor
        return template

    @property
    def text(self) -> str:
        """The template, with ANYTHING for what varies."""
        text = "".join(self.tokens).strip()
        return _without_line_number(text) if self.has_moved else text

    def similarity(self, tokens: list[str]) -> float:
        """How many of the tokens are the same, 0 to 1 (Drain, section III.E).

        Of two that differ in number, as lists in a statement make them, those at both ends, as a share of the shorter.
        """
        if len(self.tokens) == len(tokens):
            same: int = sum(map(eq, self.tokens, tokens))
            return same / len(tokens)
        return sum(self._ends(tokens)) / min(len(self.tokens), len(tokens))

    def take_over(self, same: "LogTemplate") -> None:
        """Count the lines of another template as its own."""
        self.count += same.count
        self.first_seen_at = min(self.first_seen_at, same.first_seen_at)
        self.last_seen_at = max(self.last_seen_at, same.last_seen_at)
        for bucket, count in same.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def generalise(self, tokens: list[str]) -> None:
        """Give up the tokens that differ, and keep what separates them from the next."""
        if len(self.tokens) != len(tokens):
            first, last = self._ends(tokens)
            self.tokens = [*self.tokens[:first], ANYTHING, *self.tokens[len(self.tokens) - last :]]
            return
        for i, (mine, other) in enumerate(zip(self.tokens, tokens, strict=True)):
            if mine != other:
                end = _END.search(mine)
                self.tokens[i] = ANYTHING + (end[0] if end else "")

    def _ends(self, tokens: list[str]) -> tuple[int, int]:
        """How many tokens are the same from the beginning on, and how many of the others up to the end."""
        most = min(len(self.tokens), len(tokens))
        first = 0
        while first < most and self.tokens[first] == tokens[first]:
            first += 1
        last = 0
        while last < most - first and self.tokens[-1 - last] == tokens[-1 - last]:
            last += 1
        return first, last


class LogTemplates:
    """The templates of lines that are added one at a time, in bounded memory.

    The result depends on the lines and their order alone, not on how they are cut into portions. When there are more
    than `most` templates, the one that was not seen for the longest time is forgotten; `forgotten` counts its lines.
    """

    def __init__(
        self,
        *,
        most: int = 1_000,
        similar: float = 0.5,
        depth: int = 1,
        most_children: int = 100,
        most_candidates: int = 50,
        most_characters: int = 1_000,
        most_tokens: int = 100,
        bucket_seconds: int | None = None,
        most_buckets: int = 1_440,
    ) -> None:
        self.forgotten = 0
        self._most = most
        self._similar = similar
        self._depth = depth
        self._most_children = most_children
        self._most_candidates = most_candidates
        self._most_characters = most_characters
        self._most_tokens = most_tokens
        self._bucket_seconds = bucket_seconds
        self._most_buckets = most_buckets
        self._templates: OrderedDict[str, LogTemplate] = OrderedDict()  # the latest seen last
        self._leaves: dict[tuple[object, ...], list[LogTemplate]] = {}
        self._children: dict[tuple[object, ...], set[str]] = {}
        self._known: dict[tuple[LogLevel, str], LogTemplate] = {}

    def __len__(self) -> int:
        return len(self._templates)

    def __iter__(self) -> Iterator[LogTemplate]:
        """The most frequent first; those as frequent in the order of their ids."""
        return iter(sorted(self._templates.values(), key=lambda template: (-template.count, template.id)))

    def add(self, time: datetime, line: str, level: LogLevel = LogLevel.UNKNOWN) -> LogTemplate:
        """Count a line, and return its template. Of many lines in one (a stack trace) the first tells."""
        masked = mask(line, self._most_characters)
        template = self._known.get((level, masked))
        if template is None or self._templates.get(template.id) is not template:
            template = self._find(time, line, level, masked)
            if len(self._known) >= 8 * self._most:
                self._known.clear()
            self._known[level, masked] = template
        self._templates.move_to_end(template.id)
        template.count += 1
        if time < template.first_seen_at:
            template.first_seen_at = time
        if time > template.last_seen_at:
            template.last_seen_at = time
        if self._bucket_seconds is not None:
            self._count(template, time, self._bucket_seconds)
        return template

    def add_all(self, lines: Iterable[tuple[datetime, str]], level: LogLevel = LogLevel.UNKNOWN) -> None:
        """Count lines, each with its time."""
        for time, line in lines:
            self.add(time, line, level)

    def restore(self, template: LogTemplate) -> None:
        """Know a template that others like these had. Those that were not seen for the longest time come first."""
        for depth in range(2, len(template.path)):
            self._children.setdefault(template.path[:depth], set()).add(str(template.path[depth]))
        self._leaves.setdefault(template.path, []).append(template)
        self._templates[template.id] = template
        if len(self._templates) > self._most:
            self._forget()

    def forget_before(self, time: datetime) -> None:
        """Forget the templates that were not seen since this time."""
        while self._templates and next(iter(self._templates.values())).last_seen_at < time:
            self._forget()

    def unite_moved(self) -> None:
        """Let each statement that was moved within its file, as edits do, be one template: the earliest of them.

        It is the same statement where its words are the same, as far as they never vary, and it was not seen before the
        other was seen for the last time. While both versions of a program write, their statements are told apart.
        """
        by_file: dict[tuple[LogLevel, str], list[tuple[LogTemplate, list[str]]]] = {}
        for template in sorted(self._templates.values(), key=lambda it: (it.first_seen_at, it.id)):
            text = "".join(template.tokens)
            location = location_of(text)
            if not location:
                continue
            tokens = tokenise(_without_line_number(text), self._most_tokens)
            known = by_file.setdefault((template.level, _without_line_number(location)), [])
            for earlier, words in known:
                if earlier.last_seen_at <= template.first_seen_at and self._agree(words, tokens):
                    self._remove(template)
                    earlier.take_over(template)
                    earlier.has_moved = True
                    template.successor = earlier
                    break
            else:
                known.append((template, tokens))

    def _agree(self, one: list[str], other: list[str]) -> bool:
        """Whether two may be tokens of one statement: as similar as they have to be, and the others vary."""
        if len(one) != len(other):
            return False
        differing = [mine + others for mine, others in zip(one, other, strict=True) if mine != others]
        return len(differing) <= (1 - self._similar) * len(one) and all(ANYTHING in both for both in differing)

    def since(self, time: datetime) -> list[LogTemplate]:
        """The templates that were not seen before this time: what is new."""
        return [template for template in self if template.first_seen_at >= time]

    def _find(self, time: datetime, line: str, level: LogLevel, masked: str) -> LogTemplate:
        tokens = tokenise(masked, self._most_tokens)
        path = self._path(level, location_of(masked), tokens)
        candidates = self._leaves.setdefault(path, [])
        best = max(candidates, key=lambda candidate: candidate.similarity(tokens), default=None)
        is_full = len(candidates) >= self._most_candidates
        if best is not None and (is_full or best.similarity(tokens) >= self._similar):
            best.generalise(tokens)
            self._unite(best, candidates)
            return best
        id = blake2b(f"{level}\n{masked}".encode(errors="replace"), digest_size=8).hexdigest()
        if (again := self._templates.get(id)) is not None:  # it had become general, and this is its first line again
            return again
        template = LogTemplate(id, level, tokens, line, time, time, time, path=path)
        candidates.append(template)
        self._templates[id] = template
        if len(self._templates) > self._most:
            self._forget()
        return template

    def _unite(self, template: LogTemplate, candidates: list[LogTemplate]) -> None:
        """Let a template that has become more general take over those that it has become equal to."""
        for same in [each for each in candidates if each is not template and each.tokens == template.tokens]:
            candidates.remove(same)
            del self._templates[same.id]
            template.take_over(same)
            same.successor = template

    def _path(self, level: LogLevel, location: str, tokens: list[str]) -> tuple[object, ...]:
        """The way down the tree. A token with a digit, or one too many at its node, goes the way of anything."""
        if location:  # one statement, however many items it lists
            return level, location
        path: tuple[object, ...] = (level, len(tokens))
        for token in tokens[: self._depth]:
            step = ANYTHING if ANYTHING in token or _DIGIT.search(token) else token
            children = self._children.setdefault(path, set())
            if step not in children and len(children) >= self._most_children:
                step = ANYTHING
            children.add(step)
            path = (*path, step)
        return path

    def _forget(self) -> None:
        """Forget the template that was not seen for the longest time."""
        oldest = next(iter(self._templates.values()))
        self.forgotten += oldest.count
        self._remove(oldest)

    def _remove(self, template: LogTemplate) -> None:
        """Take out a template, and every way that leads only there."""
        del self._templates[template.id]
        leaf = self._leaves[template.path]
        leaf.remove(template)
        if leaf:
            return
        path = template.path
        del self._leaves[path]
        while len(path) > 2 and path not in self._children:
            path, step = path[:-1], path[-1]
            siblings = self._children[path]
            siblings.discard(str(step))
            if not siblings:
                del self._children[path]

    def _count(self, template: LogTemplate, time: datetime, bucket_seconds: int) -> None:
        bucket = int(time.timestamp()) // bucket_seconds * bucket_seconds
        template.counts[bucket] = template.counts.get(bucket, 0) + 1
        if len(template.counts) > self._most_buckets:
            template.counts.popitem(last=False)


def mask(line: str, most_characters: int = 1_000) -> str:
    """The first line of a text with ANYTHING for numbers, ids, addresses, dates, durations and sizes.

    The line of code that wrote it is none of these, where it is named among the first words.
    """
    head = line[:most_characters].lstrip().partition("\n")[0].rstrip()
    location = _location(head)
    if location is None:
        return _VARIABLE.sub(ANYTHING, head)
    before, after = head[: location.start()], head[location.end() :]
    return _VARIABLE.sub(ANYTHING, before) + location[0] + _VARIABLE.sub(ANYTHING, after)


def location_of(masked: str) -> str:
    """The line of code that a line says it was written by, empty where it does not say."""
    location = _location(masked)
    return "" if location is None else location[0]


def _location(text: str) -> re.Match[str] | None:
    head = text[:_LOCATED_WITHIN]
    return _LOCATION.search(head) if "#" in head or _MAY_BE_LOCATED.search(head) else None


def _without_line_number(text: str) -> str:
    """The text (of a template, or a place in the code alone) with ANYTHING for the number of the line of code."""
    location = _location(text)
    if location is None:
        return text
    return text[: location.start()] + _LINE_NUMBER.sub(ANYTHING, location[0]) + text[location.end() :]


def looks_like(line: str, parts: list[str]) -> bool:
    """Whether a line is these parts, a template split at ANYTHING, with anything between them, in linear time."""
    first, *rest = parts
    if not rest:
        return line == first
    *middle, last = rest
    if not line.startswith(first) or not line.endswith(last):
        return False
    at = len(first)
    for part in middle:
        found = line.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return at <= len(line) - len(last)


def tokenise(masked: str, most_tokens: int = 100) -> list[str]:
    """The tokens of a masked line, each with what separates it from the next; the last holds all that is too much."""
    tokens = [token for token in _TOKEN.findall(_SPACE.sub(" ", masked)) if token] or [""]
    return tokens if len(tokens) <= most_tokens else [*tokens[: most_tokens - 1], ANYTHING]
