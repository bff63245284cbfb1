"""What a document selects, by response keys, and what may stand behind one key (specification, FieldsInSetCanMerge)."""

from dataclasses import dataclass, field, replace


@dataclass
class Entry:
    """What stands behind a response key, and what is selected of it so far."""

    parent: str
    field: str
    arguments: str
    type: str
    is_leaf: bool
    selected: "dict[str, Entry]" = field(default_factory=dict)


Scope = dict[str, Entry]


@dataclass
class Fragment:
    """A fragment on a type, and what it selects."""

    name: str
    type: str
    text: str
    scope: Scope


def can_share_key(one: Entry, other: Entry) -> bool:
    """Whether two fields can share a response key."""
    if (one.field, one.arguments, one.type) != (other.field, other.arguments, other.type):
        return False
    return one.parent == other.parent or one.is_leaf


def agree(scope: Scope, other: Scope) -> bool:
    """Whether two selections can be merged."""
    return all(
        can_share_key(scope[key], entry) and agree(scope[key].selected, entry.selected)
        for key, entry in other.items()
        if key in scope
    )


def merge(scope: Scope, other: Scope) -> None:
    """Add what another selection selects."""
    for key, entry in other.items():
        mine = scope.setdefault(key, replace(entry, selected={}))
        merge(mine.selected, entry.selected)
