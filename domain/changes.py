"""What is different after a change, in the words of the API."""

from collections.abc import Iterable, Mapping
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
        """The column's name in GraphQL; a reference has the name of the object it leads to, and its id as value."""
        head, *words = self.column.removesuffix("_id").split("_")
        return head + "".join(word.capitalize() for word in words)

    @property
    def words(self) -> str:
        """The column's name in a sentence, capitalised: `Root cause`."""
        sentence = self.column.removesuffix("_id").replace("_", " ").capitalize()
        return sentence.replace(" url", " URL")

    def as_json(self) -> dict[str, Any]:
        """The change as events carry it: `{"field": "status", "from": "OPEN", "to": "RESOLVED"}`."""
        return {"field": self.field, "from": as_json(self.before), "to": as_json(self.after)}


def differences(row: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[Change, ...]:
    """What writing `values` would change in `row`, in their order."""
    return tuple(Change(column, row[column], value) for column, value in values.items() if row[column] != value)


def creation(row: Mapping[str, Any], column: str = "status") -> tuple[Change, ...]:
    """The change that tells of a new row: `column` from nothing to its first value."""
    return (Change(column, None, row[column]),)


def before(changes: Iterable[Change]) -> dict[str, Any]:
    """The changed columns as they were, ready for JSON."""
    return {change.column: as_json(change.before) for change in changes}


def after(changes: Iterable[Change]) -> dict[str, Any]:
    """The changed columns as they are now, ready for JSON."""
    return {change.column: as_json(change.after) for change in changes}


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
