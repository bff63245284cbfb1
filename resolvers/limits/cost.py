"""What an operation costs: rows asked for, times what is selected of each (see weights.py).

It is known before anything is executed, and follows the operation as execution would: fields of one response name are
one field, fragments and aliases count wherever they are used, and variables count with the value that they have.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from typing import Any, Final

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)

from domain.errors import LimitExceeded
from resolvers.compile.recently_used import RecentlyUsed
from resolvers.compile.selection import Document
from resolvers.compile.sources import Page, Sources
from resolvers.limits.structure import INTROSPECTION_FIELDS
from resolvers.limits.weights import Weight, Weights

_KEPT: Final = 100
_CHARACTERS_PER_UNIT: Final = 100
_UNKNOWN: Final = object()
_ROW_FIELDS: Final = frozenset({"nodes", "edges"})

Type = GraphQLObjectType | GraphQLInterfaceType
Values = Mapping[str, Any]
Found = dict[tuple[str | None, str], list[tuple[Type, FieldNode]]]


class OperationCost:
    """The cost of one operation, as a function of the variables that change it."""

    __slots__ = ("_constant", "_document", "_kept", "_names", "_operation", "_sources", "_weights", "introspects")

    def __init__(
        self, document: Document, operation: OperationDefinitionNode, weights: Weights, sources: Sources
    ) -> None:
        self._document = document
        self._operation = operation
        self._weights = weights
        self._sources = sources
        self._kept: RecentlyUsed[tuple[Any, ...], int] = RecentlyUsed(_KEPT)
        names, self.introspects = _look_through(document, operation, weights.sizes)
        self._names = tuple(sorted(names))
        self._constant = None if names else self._reckon({}, _UNKNOWN)

    def requested(self, values: Values) -> int:
        """What it costs with these coerced variables, at most."""
        if self._constant is not None:
            return self._constant
        key = tuple([_size(values.get(name)) for name in self._names])
        cost = self._kept.get(key)
        if cost is None:
            cost = self._reckon(values, _UNKNOWN)
            self._kept.put(key, cost)
        return cost

    def actual(self, values: Values, data: Any) -> int:
        """What it has cost, by the rows that an answer's `data` has."""
        return self._reckon(values, data)

    def _reckon(self, values: Values, data: Any) -> int:
        schema = self._document.schema
        root = schema.get_root_type(self._operation.operation)
        if root is None:
            return 1
        reckoning = _Reckoning(self._document, self._weights, self._sources, values)
        # Nothing is free. Rounded, because sums of tenths are not exact.
        return max(1, ceil(round(reckoning.selection(root, [self._operation.selection_set], data), 6)))


def too_expensive(cost: int, allowed: int) -> LimitExceeded:
    """An operation asks for too much."""
    return LimitExceeded(
        f"The operation costs {cost}, and {allowed} is allowed (MAX_COST): ask for fewer rows (`first`), for less of "
        "each, or in several requests",
        limit="cost",
        allowed=allowed,
        requested=cost,
    )


def reading_cost(text: str) -> int:
    """What it costs to read and validate a document, which is done once for each."""
    return len(text) // _CHARACTERS_PER_UNIT


class _Reckoning:
    """One walk through an operation, along an answer where there is one."""

    def __init__(self, document: Document, weights: Weights, sources: Sources, values: Values) -> None:
        self._document = document
        self._weights = weights
        self._sources = sources
        self._values = values

    def selection(self, type_: Type, selection_sets: Iterable[SelectionSetNode], data: Any) -> float:
        """What is selected of one object. Of an interface, only one of its types can be there: the dearest."""
        if data is None:
            return 0
        found: Found = {}
        self._collect(type_, None, selection_sets, found, set())
        shared = 0.0
        by_type: dict[str, float] = {}
        for (only_for, key), nodes in found.items():
            cost = self._field(nodes, _UNKNOWN if data is _UNKNOWN else data.get(key))
            if only_for is None:
                shared += cost
            else:
                by_type[only_for] = by_type.get(only_for, 0) + cost
        return shared + max(by_type.values(), default=0)

    def _field(self, nodes: list[tuple[Type, FieldNode]], data: Any) -> float:
        parent, node = nodes[0]
        name = node.name.value
        weight = self._weights.of(parent.name, name)
        sets = [each.selection_set for _, each in nodes if each.selection_set is not None]
        definition = parent.fields.get(name)
        if data is None or definition is None or not sets:
            return weight.base + weight.row
        type_ = get_named_type(definition.type)
        if not isinstance(type_, Type):
            return weight.base + weight.row
        if isinstance(self._sources.fields.get((parent.name, name)), Page):
            return weight.base + self._page(weight, node, type_, sets, data)
        if isinstance(data, list):
            return weight.base + sum(weight.row + self.selection(type_, sets, item) for item in data)
        rows = self._rows(weight, node) if data is _UNKNOWN else 1
        return weight.base + rows * (weight.row + self.selection(type_, sets, data))

    def _page(self, weight: Weight, node: FieldNode, type_: Type, sets: list[SelectionSetNode], data: Any) -> float:
        """Its rows are read once for its nodes and once for its edges, whichever are selected, as often as they are."""
        rows = self._rows(weight, node)
        found: Found = {}
        self._collect(type_, None, sets, found, set())
        cost = 0.0
        for (_, key), nodes in found.items():
            of_page, name = nodes[0][0].fields, nodes[0][1].name.value
            part = _UNKNOWN if data is _UNKNOWN else data.get(key)
            if name not in _ROW_FIELDS:
                cost += self._field(nodes, part)
                continue
            item = get_named_type(of_page[name].type)
            below = [each.selection_set for _, each in nodes if each.selection_set is not None]
            if not isinstance(item, Type):
                continue
            if isinstance(part, list):
                cost += sum(weight.row + self.selection(item, below, each) for each in part)
            elif part is _UNKNOWN:
                cost += rows * (weight.row + self.selection(item, below, _UNKNOWN))
        return cost

    def _rows(self, weight: Weight, node: FieldNode) -> int:
        asked = [self._asked(part.value) for part in node.arguments or () if part.name.value in weight.sizes]
        sizes = [size for size in asked if size is not None]
        return min(max(0, *sizes), weight.most) if sizes else weight.rows

    def _asked(self, value: Any) -> int | None:
        if isinstance(value, IntValueNode):
            return int(value.value)
        if isinstance(value, ListValueNode):
            return len(value.values)
        size = _size(self._values.get(value.name.value)) if isinstance(value, VariableNode) else None
        return None if isinstance(size, bool) else size

    def _collect(
        self,
        type_: Type,
        only_for: str | None,
        selection_sets: Iterable[SelectionSetNode],
        found: Found,
        visited: set[tuple[str | None, str]],
    ) -> None:
        """The fields by response name, and by the object type that they are only asked of, inside an interface."""
        for selection_set in selection_sets:
            for node in selection_set.selections:
                if not self._is_included(node.directives):
                    continue
                if isinstance(node, FieldNode):
                    found.setdefault((only_for, (node.alias or node.name).value), []).append((type_, node))
                    continue
                if isinstance(node, FragmentSpreadNode):
                    if (only_for, node.name.value) in visited:
                        continue
                    visited.add((only_for, node.name.value))
                    fragment: Any = self._document.fragments[node.name.value]
                else:
                    fragment = node
                self._collect_fragment(type_, only_for, fragment, found, visited)

    def _collect_fragment(
        self, type_: Type, only_for: str | None, fragment: Any, found: Found, visited: set[tuple[str | None, str]]
    ) -> None:
        condition = fragment.type_condition
        wanted = type_ if condition is None else self._document.schema.type_map[condition.name.value]
        if not isinstance(wanted, Type):
            return
        if isinstance(wanted, GraphQLObjectType):
            if isinstance(type_, GraphQLObjectType):
                if wanted is not type_:
                    return
            else:
                only_for = wanted.name
        elif isinstance(type_, GraphQLObjectType):
            wanted = type_  # An interface of it, whose fields it has.
        self._collect(wanted, only_for, [fragment.selection_set], found, visited)

    def _is_included(self, directives: Iterable[DirectiveNode] | None) -> bool:
        """Whether a selection is asked for. Where that is not plain, execution will say what is wrong."""
        for directive in directives or ():
            name = directive.name.value
            if name in ("include", "skip"):
                for argument in directive.arguments or ():
                    value = argument.value
                    given: Any = None
                    if isinstance(value, BooleanValueNode):
                        given = value.value
                    elif isinstance(value, VariableNode):
                        given = self._values.get(value.name.value)
                    if given is (name == "skip"):
                        return False
        return True


def _size(value: Any) -> Any:
    """What of a variable's value changes the cost: a number, a truth, or the length of a list."""
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) else None if value is None else 1


def _look_through(
    document: Document, operation: OperationDefinitionNode, sizes: frozenset[str]
) -> tuple[set[str], bool]:
    """The variables that change the cost, and whether the operation asks about the schema."""
    names: set[str] = set()
    introspects = False
    for node in _selections(document, operation):
        for directive in node.directives or ():
            names |= _variables(part.value for part in directive.arguments or ())
        if isinstance(node, FieldNode):
            introspects = introspects or node.name.value in INTROSPECTION_FIELDS
            names |= _variables(part.value for part in node.arguments or () if part.name.value in sizes)
    return names, introspects


def _selections(document: Document, operation: OperationDefinitionNode) -> Iterator[SelectionNode]:
    """Everything that is selected anywhere, each fragment once."""
    waiting: list[SelectionSetNode] = [operation.selection_set]
    visited: set[str] = set()
    while waiting:
        for node in waiting.pop().selections:
            yield node
            if isinstance(node, FragmentSpreadNode):
                if node.name.value not in visited:
                    visited.add(node.name.value)
                    waiting.append(document.fragments[node.name.value].selection_set)
            elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                waiting.append(node.selection_set)


def _variables(values: Iterable[ValueNode]) -> set[str]:
    return {value.name.value for value in values if isinstance(value, VariableNode)}
