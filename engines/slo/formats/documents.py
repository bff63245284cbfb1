"""YAML and JSON as people hand it in: read without ever making an object of theirs, and every value with its line.

Text becomes a tree of three kinds of nodes. What a scalar means (a number, a truth, a text) is for the reader to say,
who knows what belongs in its place. Refused with the place: custom tags, anchors and aliases (of which the bombs are
made), keys given twice, and whatever is larger or deeper than any real file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

MAX_BYTES: Final = 10_000_000
MAX_DOCUMENTS: Final = 5_000
MAX_DEPTH: Final = 40
MAX_NODES: Final = 500_000

# libyaml's parser is some thirty times faster, which is what makes ten megabytes bearable.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS: Final = frozenset(
    (None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")))
)


class UnreadableText(Exception):
    """The text is no YAML, or is YAML that is never read here. `document` and `line` count from 1."""

    def __init__(self, message: str, *, document: int = 1, line: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.document = document
        self.line = line


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it is written. `is_plain` when it stands without quotes."""

    line: int
    text: str
    is_plain: bool = True


@dataclass(frozen=True, slots=True)
class Sequence:
    """Values in their order."""

    line: int
    items: "list[Node]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Values by their keys, each key once, in the order of the text. `key_lines` says where each key stands."""

    line: int
    members: "dict[str, Node]" = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)


Node: TypeAlias = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream, and which one it is, from 1. Empty documents are counted, but never given out."""

    number: int
    root: Node


def read(text: str) -> list[Document]:
    """The documents of a text. Raises UnreadableText."""
    if len(text) > MAX_BYTES or len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise UnreadableText(f"The text is larger than {MAX_BYTES // 1_000_000} MB: import it in parts")
    builder = _Builder()
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.problem, error.context) if part)
        line = mark.line + 1 if mark else 1
        raise UnreadableText(f"This is not YAML: {words}", document=max(builder.number, 1), line=line) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise UnreadableText(f"This is not YAML: {_first_line(error)}", document=max(builder.number, 1)) from error
    return builder.documents


def _events(text: str) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Builder:
    """Puts nodes together as the parser tells of them: without recursion, so that no depth can exhaust a stack."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.number = 0
        self._open: list[Sequence | Mapping] = []
        self._keys: list[Scalar | None] = []
        self._root: Node | None = None
        self._nodes = 0

    def take(self, event: Any) -> None:
        """Go on with the next event of the parser. Raises UnreadableText."""
        match event:
            case yaml.ScalarEvent():  # Most are.
                self._require_plain(event)
                self._add(Scalar(_line(event), event.value, event.implicit[0]))
            case yaml.DocumentStartEvent():
                self.number += 1
                self._root = None
                if self.number > MAX_DOCUMENTS:
                    raise self._refusal(f"There are more than {MAX_DOCUMENTS} documents: import them in parts", event)
            case yaml.DocumentEndEvent():
                if self._root is not None and not _is_nothing(self._root):
                    self.documents.append(Document(self.number, self._root))
            case yaml.AliasEvent():
                raise self._refusal(
                    f'The alias "*{event.anchor}" is not followed, because aliases can make a small text huge: '
                    "write the value out",
                    event,
                )
            case yaml.SequenceStartEvent():
                self._require_plain(event)
                self._enter(Sequence(_line(event)))
            case yaml.MappingStartEvent():
                self._require_plain(event)
                self._enter(Mapping(_line(event)))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._open.pop()
                self._keys.pop()

    def _enter(self, node: Sequence | Mapping) -> None:
        self._add(node)
        self._open.append(node)
        self._keys.append(None)
        if len(self._open) > MAX_DEPTH:
            raise UnreadableText(f"This is nested deeper than {MAX_DEPTH} levels", document=self.number, line=node.line)

    def _add(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise UnreadableText(
                f"There are more than {MAX_NODES} values: import them in parts", document=self.number, line=node.line
            )
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is not None:
            parent.members[key.text] = node
            self._keys[-1] = None
            return
        if not isinstance(node, Scalar):
            raise UnreadableText("A key must be a text", document=self.number, line=node.line)
        if node.text in parent.members:
            first = parent.key_lines[node.text]
            raise UnreadableText(
                f'The key "{node.text:.100}" is given twice, first in line {first}',
                document=self.number,
                line=node.line,
            )
        parent.key_lines[node.text] = node.line
        self._keys[-1] = node

    def _require_plain(self, event: Any) -> None:
        if event.anchor is not None:
            raise self._refusal(
                f'The anchor "&{event.anchor}" is not read, because aliases can make a small text huge: '
                "write the value out where it is needed",
                event,
            )
        if event.tag not in _PLAIN_TAGS:
            raise self._refusal(f'The tag "{event.tag:.100}" is not read: leave it away', event)

    def _refusal(self, message: str, event: Any) -> UnreadableText:
        return UnreadableText(message, document=max(self.number, 1), line=_line(event))


def is_null(node: Node) -> bool:
    """Whether a value is nothing: left empty, `~` or `null`."""
    return isinstance(node, Scalar) and node.is_plain and node.text in ("", "~", "null", "Null", "NULL")


def _is_nothing(root: Node) -> bool:
    return is_null(root)


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
