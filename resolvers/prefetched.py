"""Objects that one statement has read, and that still lack the values of other backends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from resolvers.compile.json_text import TYPE_KEY


@dataclass(frozen=True, slots=True)
class Prefetched:
    """A mixed object as the compiler wrote it, by response key: complete members as text, others as objects."""

    members: Mapping[str, Any]

    @classmethod
    def parse(cls, text: bytes) -> "Prefetched":
        """The object that a mixed statement returned."""
        return cls(orjson.loads(text))

    @property
    def type_name(self) -> str:
        """The GraphQL type of the object."""
        return str(self.members[TYPE_KEY])

    def member(self, key: str) -> Any:
        """The value of a response key: finished JSON, which passes through execution as it is, or something mixed."""
        return _completed(self.members[key])

    def needs(self, key: str) -> Mapping[str, Any]:
        """What the resolver of the field at this response key starts from, by name."""
        needs: Mapping[str, Any] = self.members[key]
        return needs


def _completed(value: Any) -> Any:
    if isinstance(value, str):
        return orjson.Fragment(value)
    if isinstance(value, list):
        return [_completed(item) for item in value]
    return Prefetched(value) if isinstance(value, dict) else value
