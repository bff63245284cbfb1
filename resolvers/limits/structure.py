"""What a document may look like, found out in time that is linear in its length, and before it is validated.

Validation itself is not linear: fields with the same name are compared with each other, and fragments are followed
wherever they are used. So what is said here bounds the work of everything that comes after. Fragments count once for
each use, as they would if they were written out: `a` twice in a fragment that is used twice is four fields.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
)

from domain.errors import LimitExceeded

INTROSPECTION_FIELDS: Final = frozenset({"__schema", "__type"})

_MOST_DEFINITIONS: Final = 250
_MOST_COMPARISONS: Final = 20_000
"""How many pairs of fields that share a place in the answer validation may have to compare."""
_MOST_INTROSPECTION_DEPTH: Final = 20
"""Below `__schema` and `__type`. The usual queries unwrap a type nine times, which makes 14."""
_ENDLESS: Final = 1_000_000_000

Definition = OperationDefinitionNode | FragmentDefinitionNode


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """The most that one document may have of each."""

    tokens: int = 5_000
    depth: int = 15
    aliases: int = 100
    directives: int = 50
    root_fields: int = 25
    fields: int = 2_000
    list_items: int = 1_000

    def check(self, document: DocumentNode) -> list[GraphQLError]:
        """What is too much, each once; nothing else may be done with a document that exceeds a limit."""
        definitions = [node for node in document.definitions if isinstance(node, Definition)]
        if len(definitions) > _MOST_DEFINITIONS:
            return [_refusal("operations and fragments", "definitions", _MOST_DEFINITIONS, len(definitions))]
        outlines = [_outline(node) for node in definitions]
        fragments = {
            outline.definition.name.value: outline
            for outline in outlines
            if isinstance(outline.definition, FragmentDefinitionNode)
        }
        cycle = _measure(outlines, fragments)
        if cycle is not None:
            return [cycle]
        excesses = [excess for excess in self._excesses(outlines) if excess is not None]
        if not excesses and (comparisons := _comparisons(outlines, fragments)) > _MOST_COMPARISONS:
            excesses = [_excess("comparisons of fields with one name", "comparisons", _MOST_COMPARISONS, comparisons)]
        return [_error(excess) for excess in excesses]

    def too_many_tokens(self) -> GraphQLError:
        """The refusal of a document that is too long to be read."""
        return _refusal("tokens", "tokens", self.tokens, None, "MAX_DOCUMENT_TOKENS")

    def too_deep_to_read(self) -> GraphQLError:
        """The refusal of a document that is nested too deeply to be read."""
        return _refusal("levels of fields", "depth", self.depth, None, "MAX_DEPTH")

    def _excesses(self, outlines: Sequence["_Outline"]) -> Iterator[LimitExceeded | None]:
        def most(name: str) -> int:
            return max((getattr(outline.total, name) for outline in outlines), default=0)

        roots = [outline for outline in outlines if isinstance(outline.definition, OperationDefinitionNode)]
        yield _exceeding("levels of fields", "depth", self.depth, most("depth"), "MAX_DEPTH")
        yield _exceeding(
            "levels of introspection", "introspectionDepth", _MOST_INTROSPECTION_DEPTH, most("introspection_depth")
        )
        yield _exceeding("aliases", "aliases", self.aliases, most("aliases"), "MAX_ALIASES")
        yield _exceeding("directives", "directives", self.directives, most("directives"), "MAX_DIRECTIVES")
        root_fields = max((outline.total.roots for outline in roots), default=0)
        yield _exceeding("root fields", "rootFields", self.root_fields, root_fields, "MAX_ROOT_FIELDS")
        # Each definition is validated by itself: together they may not be much more than the largest of them.
        together = sum(outline.total.fields for outline in outlines) // 10
        fields = max(most("fields"), together)
        yield _exceeding("fields, its fragments written out", "fields", self.fields, fields, "MAX_FIELDS")
        items = max((outline.list_items for outline in outlines), default=0)
        yield _exceeding("items in one list", "listItems", self.list_items, items, "MAX_LIST_ITEMS")


def too_many_items(allowed: int, requested: int) -> LimitExceeded:
    """A list in the variables is too long."""
    return LimitExceeded(
        f"A list in the variables has {requested} items, and {allowed} are allowed (MAX_LIST_ITEMS): "
        "send them in several requests",
        limit="listItems",
        allowed=allowed,
        requested=requested,
    )


@dataclass(slots=True)
class _Measure:
    """How much of each something has. `depth` counts the levels outside of introspection."""

    depth: int = 0
    introspection_depth: int = 0
    fields: int = 0
    roots: int = 0
    aliases: int = 0
    directives: int = 0

    def count(self, node: FieldNode, depth: int, introspection: int | None) -> tuple[int, int | None]:
        """Count a field so many levels down; return how far down what it selects is."""
        self.fields += 1
        self.aliases += node.alias is not None
        self.roots += depth == 0 and introspection is None
        if introspection is not None:
            self.introspection_depth = max(self.introspection_depth, introspection + 1)
            return depth, introspection + 1
        if node.name.value in INTROSPECTION_FIELDS:
            return depth, 0
        self.depth = max(self.depth, depth + 1)
        return depth + 1, None

    def add(self, use: "_Use", other: "_Measure") -> None:
        """Add a fragment where it is used."""
        if use.introspection_depth is None:
            self.depth = max(self.depth, use.depth + other.depth)
            self.introspection_depth = max(self.introspection_depth, other.introspection_depth)
        else:
            deepest = max(other.depth, other.introspection_depth)
            self.introspection_depth = max(self.introspection_depth, use.introspection_depth + deepest)
        if use.depth == 0 and use.introspection_depth is None:
            self.roots = min(self.roots + other.roots, _ENDLESS)
        self.fields = min(self.fields + other.fields, _ENDLESS)
        self.aliases = min(self.aliases + other.aliases, _ENDLESS)
        self.directives = min(self.directives + other.directives, _ENDLESS)


@dataclass(frozen=True, slots=True)
class _Use:
    """A fragment is used, so many levels down: of fields, and of those below an introspection field, if it is."""

    fragment: str
    depth: int
    introspection_depth: int | None


@dataclass(slots=True)
class _Outline:
    """A definition by itself, and with its fragments written out."""

    definition: Definition
    own: _Measure
    uses: list[_Use]
    list_items: int
    total: _Measure = field(default_factory=_Measure)
    is_open: bool = False
    is_measured: bool = False


def _outline(definition: Definition) -> _Outline:
    own, uses, longest_list = _Measure(), list[_Use](), 0
    own.directives = len(definition.directives or ())
    for variable in getattr(definition, "variable_definitions", None) or ():
        own.directives += len(variable.directives or ())
        longest_list = max(longest_list, _longest_list([variable.default_value]))
    waiting: list[tuple[SelectionSetNode, int, int | None]] = [(definition.selection_set, 0, None)]
    while waiting:
        selection_set, depth, introspection = waiting.pop()
        for node in selection_set.selections:
            own.directives += len(node.directives or ())
            for directive in node.directives or ():
                longest_list = max(longest_list, _longest_list(part.value for part in directive.arguments or ()))
            if isinstance(node, FragmentSpreadNode):
                uses.append(_Use(node.name.value, depth, introspection))
            elif isinstance(node, InlineFragmentNode):
                waiting.append((node.selection_set, depth, introspection))
            elif isinstance(node, FieldNode):
                longest_list = max(longest_list, _longest_list(part.value for part in node.arguments or ()))
                below = own.count(node, depth, introspection)
                if node.selection_set is not None:
                    waiting.append((node.selection_set, *below))
    return _Outline(definition, own, uses, longest_list)


def _longest_list(values: Iterable[ValueNode | None]) -> int:
    longest = 0
    waiting = list(values)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ListValueNode):
            longest = max(longest, len(node.values))
            waiting += node.values
        elif isinstance(node, ObjectValueNode):
            waiting += [part.value for part in node.fields]
    return longest


def _measure(outlines: Sequence[_Outline], fragments: Mapping[str, _Outline]) -> GraphQLError | None:
    """Measure every definition, each once and after the fragments that it uses; or say which one uses itself."""
    waiting = list(outlines)
    while waiting:
        outline = waiting[-1]
        if outline.is_measured:
            waiting.pop()
            continue
        used = [fragments[use.fragment] for use in outline.uses if use.fragment in fragments]
        if not outline.is_open:
            outline.is_open = True
            ahead = {id(other): other for other in used if not other.is_measured}
            for other in ahead.values():
                if other.is_open:
                    return _cycle(other.definition)
            waiting += ahead.values()
            continue
        own = outline.own
        total = _Measure(own.depth, own.introspection_depth, own.fields, own.roots, own.aliases, own.directives)
        for use in outline.uses:
            if use.fragment in fragments:
                total.add(use, fragments[use.fragment].total)
        outline.total, outline.is_measured, outline.is_open = total, True, False
        waiting.pop()
    return None


def _cycle(definition: Definition) -> GraphQLError:
    name = "" if definition.name is None else definition.name.value
    return GraphQLError(f"Cannot spread fragment '{name}' within itself.", definition)


def _comparisons(outlines: Sequence[_Outline], fragments: Mapping[str, _Outline]) -> int:
    """How many pairs of fields have a place in the answer in common, which may be spelt out as often as is allowed."""
    pairs = 0
    waiting = [[outline.definition.selection_set] for outline in outlines]
    while waiting:
        places: dict[str, int] = {}
        below: dict[str, list[SelectionSetNode]] = {}
        for node in _fields(waiting.pop(), fragments):
            place = (node.alias or node.name).value
            pairs += places.get(place, 0)
            places[place] = places.get(place, 0) + 1
            if node.selection_set is not None:
                below.setdefault(place, []).append(node.selection_set)
        waiting += below.values()
    return pairs


def _fields(selection_sets: Iterable[SelectionSetNode], fragments: Mapping[str, _Outline]) -> Iterator[FieldNode]:
    waiting: list[SelectionNode] = [node for each in selection_sets for node in each.selections]
    while waiting:
        node = waiting.pop()
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            waiting += node.selection_set.selections
        elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments:
            waiting += fragments[node.name.value].definition.selection_set.selections


def _exceeding(noun: str, limit: str, allowed: int, requested: int, setting: str = "") -> LimitExceeded | None:
    return None if requested <= allowed else _excess(noun, limit, allowed, requested, setting)


def _excess(noun: str, limit: str, allowed: int, requested: int | None, setting: str = "") -> LimitExceeded:
    many = "more" if requested is None else f"{requested} or more" if requested >= _ENDLESS else str(requested)
    where = f" ({setting})" if setting else ""
    message = f"The document has {many} {noun}, and {allowed} are allowed{where}: ask for less, or in several requests"
    return LimitExceeded(message, limit=limit, allowed=allowed, requested=requested)


def _refusal(noun: str, limit: str, allowed: int, requested: int | None, setting: str = "") -> GraphQLError:
    return _error(_excess(noun, limit, allowed, requested, setting))


def _error(excess: LimitExceeded, nodes: Sequence[Node] = ()) -> GraphQLError:
    return GraphQLError(excess.message, list(nodes) or None, original_error=excess)
