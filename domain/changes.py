"""What is different after a change, in the words of the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Change:
    """One column of one row, before and after."""

    column: str
    before: Any
    after: Any

    @property
    def field(self) -> str:
        """The column's name in GraphQL; a reference has the name of what it leads to, and ids as value."""
        head, *words = self.column.removesuffix("_ids").removesuffix("_id").split("_")
        return head + "".join(word.capitalize() for word in words)

    @property
    def words(self) -> str:
        """The column's name in a sentence, capitalised: `Root cause`."""
        sentence = self.column.removesuffix("_ids").removesuffix("_id").replace("_", " ").capitalize()
        return sentence.replace(" url", " URL")

    def as_json(self) -> dict[str, Any]:
        """The change as events carry it: `{"field": "status", "from": "OPEN", "to": "RESOLVED"}`."""
        return {"field": self.field, "from": as_json(self.before), "to": as_json(self.after)}


def as_json(value: Any) -> Any:
    """The value as JSON has it: ids as text, times in RFC 3339 with a Z."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case Mapping():
            return {str(name): as_json(held) for name, held in value.items()}
        case list() | tuple() | set() | frozenset():
            return [as_json(held) for held in value]
        case _:
            return value
