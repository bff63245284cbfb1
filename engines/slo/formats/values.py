"""Reading values out of documents: each asked for by what it has to be, each mistake noted with its place.

A reader never stops at a mistake: it notes it and goes on with what stands in for the value, so that one look shows all
that is wrong. What a reader made is thrown away afterwards when anything was noted meanwhile (`Report.is_clean_since`).
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, TypeVar

from domain.errors import ValidationFailed
from domain.limits import LABEL_NAME_CHARACTERS, LABEL_VALUE_CHARACTERS, LABELS, NAME_CHARACTERS, TEXT_CHARACTERS
from domain.text import line as one_line
from domain.text import storable
from engines.slo import promql
from engines.slo.formats.documents import Mapping, Node, Scalar, Sequence, is_null
from engines.slo.formats.limits import NUMBER_CHARACTERS, NUMBER_EXPONENT
from engines.slo.formats.specifications import Remark

Word = TypeVar("Word", bound=StrEnum)

_TRUTHS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MANY: Final = 1_000


class Report:
    """What was noted while reading one text."""

    def __init__(self) -> None:
        self.problems: list[Remark] = []
        self.notices: list[Remark] = []

    def mark(self) -> int:
        """A point to ask `is_clean_since` about."""
        return len(self.problems)

    def is_clean_since(self, mark: int) -> bool:
        """Whether no problem was noted since."""
        return len(self.problems) == mark


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a document, with its place."""

    node: Node
    document: int
    path: str
    report: Report

    @property
    def line(self) -> int:
        """The line where it begins, from 1."""
        return self.node.line

    @property
    def is_null(self) -> bool:
        """Whether it is nothing."""
        return is_null(self.node)

    def refuse(self, message: str) -> None:
        """Note that this cannot be."""
        if len(self.report.problems) < _MANY:
            self.report.problems.append(Remark(message, self.document, self.line, self.path))

    def notice(self, message: str) -> None:
        """Note how this was understood, or that it was left out."""
        if len(self.report.notices) < _MANY:
            self.report.notices.append(Remark(message, self.document, self.line, self.path))

    def text(self) -> str:
        """Any text; numbers and truths as they are written. Empty where it is none."""
        return self._checked("a text", lambda text: storable(text, "It", limit=TEXT_CHARACTERS))

    def name(self) -> str:
        """A name: one line that says something."""
        return self._checked("a name", lambda text: one_line(text, "It", limit=NAME_CHARACTERS))

    def query(self) -> str:
        """A PromQL query, with every way to say the window as WINDOW."""
        text = self.text().strip()
        if not text:
            if not self.is_null and isinstance(self.node, Scalar):
                self.refuse("is empty: give a PromQL query")
            return ""
        if "{{" in promql.with_window(text, "5m"):
            self.refuse("holds a template beside {{.window}}: write its value out")
            return ""
        return self._checked("a query", lambda text: promql.check(promql.normalized(text.strip()), "It"))

    def number(self, *, also_quoted: bool = False) -> Decimal | None:
        """An exact number."""
        if not isinstance(self.node, Scalar) or not (self.node.is_plain or also_quoted):
            self.refuse(f"must be a number, not {_kind(self.node)}")
            return None
        text = self.node.text.strip()
        if len(text) > NUMBER_CHARACTERS or not _NUMBER.fullmatch(text):
            self.refuse(f'must be a number, not "{text:.50}"')
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            self.refuse(f'must be a number, not "{text:.50}"')
            return None
        if value and abs(value.adjusted()) > NUMBER_EXPONENT:
            self.refuse(f"{text} is larger or smaller than any number that makes sense here")
            return None
        return value

    def truth(self) -> bool:
        """True or false."""
        if isinstance(self.node, Scalar) and self.node.is_plain and self.node.text.lower() in _TRUTHS:
            return _TRUTHS[self.node.text.lower()]
        self.refuse("must be true or false")
        return False

    def choice(self, words: Iterable[str], *, any_case: bool = False) -> str | None:
        """One of some words, as they are given here."""
        text = self.node.text if isinstance(self.node, Scalar) else ""
        for word in words:
            if text == word or (any_case and text.lower() == word.lower()):
                return word
        self.refuse(f"must be one of {', '.join(words)}{_instead(text, words)}")
        return None

    def items(self) -> list["Value"]:
        """The values of a list; nothing is an empty one."""
        if self.is_null:
            return []
        if not isinstance(self.node, Sequence):
            self.refuse(f"must be a list, not {_kind(self.node)}")
            return []
        return [
            Value(item, self.document, f"{self.path}[{index}]", self.report)
            for index, item in enumerate(self.node.items)
        ]

    def members(self, known: Collection[str] | None = None) -> "Members":
        """The members of an object. With `known` all others are refused; nothing is an empty object."""
        if self.is_null:
            return Members(Mapping(self.line), self)
        if not isinstance(self.node, Mapping):
            self.refuse(f"must be an object, not {_kind(self.node)}")
            return Members(Mapping(self.line), self)
        members = Members(self.node, self)
        if known is not None:
            members.refuse_others(known)
        return members

    def labels(self, *, with_lists: bool = False, but: str = "") -> dict[str, str]:
        """Names and texts, `but` one. With `with_lists` a value may be a list of texts, which are joined by commas
        (OpenSLO).
        """
        labels: dict[str, str] = {}
        members = self.members()
        if len(members.node.members) > LABELS:
            self.refuse(f"are more than {LABELS}")
            return labels
        for name, value in members:
            if name == but:
                continue
            if not name or len(name) > LABEL_NAME_CHARACTERS:
                value.refuse(f"the name must have 1 to {LABEL_NAME_CHARACTERS} characters")
            elif with_lists and isinstance(value.node, Sequence):
                labels[name] = ",".join(item.text() for item in value.items())
            else:
                labels[name] = value.text()
            if len(labels.get(name, "")) > LABEL_VALUE_CHARACTERS:
                value.refuse(f"is longer than {LABEL_VALUE_CHARACTERS} characters")
        return labels

    def long_text(self) -> str:
        """A text that may be as long as a document."""
        return self.node.text if isinstance(self.node, Scalar) else ""

    def _checked(self, what: str, check: Callable[[str], str]) -> str:
        if not isinstance(self.node, Scalar) or self.is_null:
            self.refuse(f"must be {what}, not {_kind(self.node)}")
            return ""
        try:
            return check(self.node.text)
        except ValidationFailed as error:
            self.refuse(error.message.removeprefix("It "))
            return ""


class Members:
    """The members of an object, by name."""

    def __init__(self, node: Mapping, owner: Value) -> None:
        self.node = node
        self.owner = owner

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        for name in self.node.members:
            yield name, self._value(name)

    def get(self, name: str) -> Value | None:
        """The member, None where it is not given or nothing."""
        node = self.node.members.get(name)
        return None if node is None or is_null(node) else self._value(name)

    def given(self, name: str) -> Value:
        """The member, or the object itself, to hang a remark on."""
        return self._value(name) if name in self.node.members else self.owner

    def require(self, name: str) -> Value | None:
        """The member; refused where it is not given."""
        value = self.get(name)
        if value is None:
            self.given(name).refuse(f"{name} is required")
        return value

    def text(self, name: str, default: str = "") -> str:
        """A text that may be missing."""
        value = self.get(name)
        return default if value is None else value.text()

    def truth(self, name: str, *, default: bool) -> bool:
        """A truth that may be missing."""
        value = self.get(name)
        return default if value is None else value.truth()

    def labels(self, name: str, *, with_lists: bool = False, but: str = "") -> dict[str, str]:
        """Names and texts that may be missing."""
        value = self.get(name)
        return {} if value is None else value.labels(with_lists=with_lists, but=but)

    def only_one_of(self, *names: str) -> Value | None:
        """The one member of these that is given; refused where none or several are."""
        given = [value for name in names if (value := self.get(name)) is not None]
        if len(given) == 1:
            return given[0]
        if given:
            given[1].refuse(f"only one of {', '.join(names)} can be given")
        else:
            self.owner.refuse(f"one of {', '.join(names)} is required")
        return None

    def refuse_others(self, known: Collection[str]) -> None:
        """Note every member that is not one of these."""
        for name, value in self:
            if name not in known:
                value.refuse(f'"{name:.100}" is not known here{_instead(name, known)}')

    def _value(self, name: str) -> Value:
        path = f"{self.owner.path}.{name}" if self.owner.path else name
        return Value(self.node.members[name], self.owner.document, path[:300], self.owner.report)


def _kind(node: Node) -> str:
    match node:
        case Mapping():
            return "an object"
        case Sequence():
            return "a list"
        case Scalar() if is_null(node):
            return "nothing"
        case Scalar(is_plain=False):
            return "a quoted text"
        case _:
            return f'"{node.text:.50}"'


def _instead(word: str, known: Iterable[str]) -> str:
    """A word that may have been meant."""
    lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(word.lower()[:100], lower, n=1, cutoff=0.75)
    return f', did you mean "{lower[close[0]]}"?' if close else ""
