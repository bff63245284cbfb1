"""Random valid documents over a schema, with the variables that go with them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from hypothesis import strategies as st

from resolvers.compile.sources import Member, Needs, Page
from resolvers.operations import Operations
from tests.resolvers.selections import Entry, Fragment, Scope, agree, can_share_key, merge
from tests.resolvers.values import ABSENT, Values, can_be_literal

FIELDS = 22
DEPTH = 7
ALIASES = ("a", "b", "title", "id", "null", "true", "on", "_", "data", "nodes")


class Request(NamedTuple):
    """A document and what goes with it."""

    query: str
    variables: dict[str, Any]
    name: str | None


def requests(
    operations: Operations, values: Values, *, mistakes: bool = False, mixed: bool = False
) -> st.SearchStrategy[Request]:
    """Valid documents and their variables.

    With `mistakes`, arguments that execution has to refuse come in too; with `mixed`, fields that ask other backends.
    """
    return st.composite(lambda draw: _Writer(draw, operations, values, mistakes, mixed).request())()


@dataclass
class _Variable:
    name: str
    type: str
    value: Any
    """What it stands for."""
    default: str | None
    given: Any
    """What the request says, or ABSENT."""


class _Writer:
    def __init__(
        self,
        draw: Callable[[st.SearchStrategy[Any]], Any],
        operations: Operations,
        values: Values,
        mistakes: bool,
        mixed: bool,
    ) -> None:
        self.draw = draw
        self.schema = operations.schema
        self.sources = operations.sources
        self.mixed = mixed
        self.values = values
        self.mistakes = mistakes
        self.variables: list[_Variable] = []
        self.fragments: list[Fragment] = []
        self.budget = FIELDS
        self.names = 0

    def request(self) -> Request:
        root = self.schema.query_type
        assert root is not None
        body = self.selection_set(root, {}, DEPTH)
        fragments = self.reachable(body)
        text = " ".join([body, *(fragment.text for fragment in fragments)])
        used = [variable for variable in self.variables if re.search(rf"\${variable.name}\b", text)]
        name = "Main" if used or self.chance(30) else ""
        definitions = ", ".join(
            f"${variable.name}: {variable.type}" + ("" if variable.default is None else f" = {variable.default}")
            for variable in used
        )
        operation = f"query {name}{f'({definitions})' if used else ''} {body}" if name or self.chance(50) else body
        parts = [operation, *(f"fragment {part.name} on {part.type} {part.text}" for part in fragments)]
        if several := bool(name) and self.chance(20):
            parts.append("query Other { __typename }")
        given = {variable.name: variable.given for variable in used if variable.given is not ABSENT}
        if self.chance(10):
            given["unknown"] = [None]
        query = "\n".join(self.draw(st.permutations(parts)))
        return Request(query, given, name if several or (name and self.chance(50)) else None)

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) >= 100 - percent)

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def reachable(self, text: str) -> list[Fragment]:
        found: list[Fragment] = []
        texts = [text]
        while texts:
            for name in re.findall(r"\.\.\.(\w+)", texts.pop()):
                fragment = next(part for part in self.fragments if part.name == name)
                if fragment not in found:
                    found.append(fragment)
                    texts.append(fragment.text)
        return found

    # Selections

    def selection_set(self, type_: GraphQLNamedType, scope: Scope, depth: int) -> str:
        parts = [self.selection(type_, scope, depth) for _ in range(self.draw(st.integers(1, 4)))]
        return "{" + self.pick((" ", "\n", ", ")).join(parts) + "}"

    def selection(self, type_: GraphQLNamedType, scope: Scope, depth: int) -> str:
        self.budget -= 1
        may_nest = self.budget > 0 and depth > 0
        if self.chance(8) and (reused := self.reused_fragment(type_, scope)):
            return reused
        if may_nest and self.chance(8) and (made := self.new_fragment(type_, scope, depth - 1)):
            return made
        if may_nest and self.chance(70 if isinstance(type_, GraphQLInterfaceType) else 10):
            return self.inline_fragment(type_, scope, depth - 1)
        return self.field(type_, scope, depth)

    def inline_fragment(self, type_: GraphQLNamedType, scope: Scope, depth: int) -> str:
        condition = self.pick((None, *self.conditions(type_)))
        inside = type_ if condition is None else self.schema.type_map[condition]
        on = "" if condition is None else f" on {condition}"
        return f"...{on}{self.directives()} {self.selection_set(inside, scope, depth)}"

    def new_fragment(self, type_: GraphQLNamedType, scope: Scope, depth: int) -> str | None:
        condition = self.pick(self.conditions(type_))
        own: Scope = {}
        text = self.selection_set(self.schema.type_map[condition], own, depth)
        if not agree(scope, own):
            return None
        fragment = Fragment(self.fresh("F"), condition, text, own)
        self.fragments.append(fragment)
        merge(scope, own)
        return f"...{fragment.name}{self.directives()}"

    def reused_fragment(self, type_: GraphQLNamedType, scope: Scope) -> str | None:
        conditions = self.conditions(type_)
        fitting = [part for part in self.fragments if part.type in conditions and agree(scope, part.scope)]
        if not fitting:
            return None
        fragment = self.pick(fitting)
        merge(scope, fragment.scope)
        return f"...{fragment.name}{self.directives()}"

    def conditions(self, type_: GraphQLNamedType) -> list[str]:
        if isinstance(type_, GraphQLInterfaceType):
            return [type_.name, *(possible.name for possible in self.schema.get_possible_types(type_))]
        assert isinstance(type_, GraphQLObjectType)
        return [type_.name, *(interface.name for interface in type_.interfaces)]

    def field(self, type_: GraphQLNamedType, scope: Scope, depth: int) -> str:
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        mine = [key for key, entry in scope.items() if entry.parent == type_.name]
        if mine and self.chance(15):
            return self.repeated(type_, self.pick(mine), scope, depth)
        fields = self.readable(type_)
        leaves = [name for name, definition in fields.items() if is_leaf_type(get_named_type(definition.type))]
        objects = [name for name in fields if name not in leaves]
        deeper = objects and depth > 0 and self.budget > 0
        elsewhere = [name for name in objects if isinstance(self.sources.fields.get((type_.name, name)), Needs)]
        if elsewhere and deeper and self.chance(40):
            name = self.pick(elsewhere)
        elif not deeper or (leaves and not self.chance(90 if type_ is self.schema.query_type else 50)):
            name = self.pick((*leaves, "__typename"))
        else:
            name = self.pick(objects)
        key = self.pick(ALIASES) if self.chance(15) else name
        if name == "__typename":
            return self.written(key, Entry(type_.name, name, "", "String!", is_leaf=True), scope)[0]
        definition = fields[name]
        arguments = self.arguments(type_, name, definition)
        entry = Entry(type_.name, name, arguments, str(definition.type), name in leaves)
        text, entry = self.written(key, entry, scope)
        return text + self.below(definition, entry, depth)

    def repeated(self, type_: GraphQLObjectType | GraphQLInterfaceType, key: str, scope: Scope, depth: int) -> str:
        entry = scope[key]
        text, entry = self.written(key, entry, scope)
        return text if entry.field == "__typename" else text + self.below(type_.fields[entry.field], entry, depth)

    def below(self, definition: GraphQLField, entry: Entry, depth: int) -> str:
        inner = get_named_type(definition.type)
        return "" if is_leaf_type(inner) else " " + self.selection_set(inner, entry.selected, depth - 1)

    def written(self, key: str, entry: Entry, scope: Scope) -> tuple[str, Entry]:
        if key in scope and not can_share_key(scope[key], entry):
            key = self.fresh("k")
        entry = scope.setdefault(key, entry)
        alias = "" if key == entry.field else f"{key}: "
        return f"{alias}{entry.field}{entry.arguments}{self.directives()}", entry

    def readable(self, type_: GraphQLObjectType | GraphQLInterfaceType) -> Mapping[str, GraphQLField]:
        """What can be asked for; unless mixed, only what one statement can read."""
        declared = {name for parent, name in self.sources.fields if parent == type_.name}
        if self.mixed or not declared:
            return type_.fields
        return {
            name: definition
            for name, definition in type_.fields.items()
            if name in declared and not isinstance(self.sources.fields[type_.name, name], Needs | Member)
        }

    def directives(self) -> str:
        text = ""
        for name in ("include", "skip"):
            if self.chance(7):
                condition = self.encoded(self.chance(50), GraphQLNonNull(self.schema.type_map["Boolean"]))
                text += f" @{name}(if: {condition})"
        return text

    # Arguments

    def arguments(self, parent: GraphQLNamedType, name: str, definition: GraphQLField) -> str:
        if not definition.args:
            return ""
        source = self.sources.fields.get((parent.name, name))
        chosen = self.page(source, definition) if isinstance(source, Page) else {}
        if "range" in definition.args:
            ranges = self.pick(self.values.wrong_ranges if self.mistakes else self.values.ranges)
            chosen |= {part: value for part, value in ranges.items() if part in definition.args}
        for argument, declared in definition.args.items():
            if argument not in chosen and argument not in _PAGING:
                required = is_non_null_type(declared.type)
                chosen[argument] = (
                    self.chosen(f"{name}.{argument}", declared.type) if required or self.chance(35) else ABSENT
                )
        written = [
            f"{argument}: {text}"
            for argument, value in self.draw(st.permutations(list(chosen.items())))
            if (text := self.optional(value, definition.args[argument].type)) is not None
        ]
        return f"({self.pick((', ', ' ')).join(written)})" if written else ""

    def page(self, source: Page, definition: GraphQLField) -> dict[str, Any]:
        """Which page, in which order, with cursors of that order."""
        chosen: dict[str, Any] = dict.fromkeys(_PAGING & definition.args.keys(), ABSENT)
        order = source.order.default
        if "orderBy" in definition.args and self.chance(40):
            chosen["orderBy"] = self.chosen("orderBy", get_nullable_type(definition.args["orderBy"].type))
            order = chosen["orderBy"]["field"]
        if (size := self.pick((None, "first", "first", "last"))) in chosen:
            chosen[size] = self.draw(st.integers(0, 4))
        elif self.budget < FIELDS - 3:
            chosen["first"] = 2  # The default of 20 makes answers long, below the first level.
        cursors = self.values.cursors[get_named_type(definition.type).name, order]
        for end in ("after", "before"):
            if end in chosen and self.chance(20):
                chosen[end] = self.pick(cursors)
        if self.mistakes and self.chance(50):
            wrong = {
                "first": st.sampled_from((-1, 201, 2**31 - 1, 3)),
                "last": st.sampled_from((-(2**31), 201, 3)),
                "after": st.sampled_from(self.values.wrong_cursors),
                "before": st.sampled_from(self.values.wrong_cursors),
            }
            name = self.pick(sorted(wrong.keys() & chosen.keys()))
            chosen[name] = self.draw(wrong[name])
        return chosen

    def chosen(self, name: str, type_: GraphQLInputType) -> Any:
        """A value for the argument (`field.argument`) or input field `name`."""
        if is_non_null_type(type_):
            return self.chosen(name, type_.of_type)
        if is_list_type(type_):
            return [self.chosen(name, type_.of_type) for _ in range(self.draw(st.integers(0, 3)))]
        if isinstance(type_, GraphQLInputObjectType):
            return {
                part: self.chosen(part, definition.type)
                for part, definition in type_.fields.items()
                if is_non_null_type(definition.type) or self.chance(25)
            }
        if isinstance(type_, GraphQLEnumType):
            return self.pick(sorted(type_.values))
        return self.pick(self.values.of(name, type_.name, mistaken=self.mistakes and self.chance(20)))

    def optional(self, value: Any, type_: GraphQLInputType) -> str | None:
        """The text of a value, or one of the ways to give none, of which leaving it out is one."""
        if value is not ABSENT:
            return self.encoded(value, type_)
        way = self.draw(st.integers(0, 99))
        if way < 80:
            return None
        if way < 90:
            return self.encoded(None, type_)
        name = self.fresh("v")
        self.variables.append(_Variable(name, str(type_), None, None, ABSENT))
        return f"${name}"

    def encoded(self, value: Any, type_: GraphQLInputType) -> str:
        """The value as a literal or a variable."""
        return self.variable(value, type_) if self.chance(35) else self.literal(value, type_)

    def variable(self, value: Any, type_: GraphQLInputType) -> str:
        fitting = {str(type_), f"{get_nullable_type(type_)}!"}
        same = [known for known in self.variables if known.value == value and known.type in fitting]
        if same and self.chance(70):
            return f"${self.pick(same).name}"
        declared: Any = type_
        default: str | None = None
        given = value
        if is_non_null_type(type_) and self.chance(25):
            # Nullable with a default is allowed where non-null is wanted.
            declared = type_.of_type
            default = self.constant(value, declared)
            given = None if self.mistakes and self.chance(30) else self.pick((value, ABSENT))
        elif not is_non_null_type(type_) and value is not None and self.chance(25):
            declared = GraphQLNonNull(type_)
        elif self.chance(20) and not is_non_null_type(type_) and can_be_literal(value):
            default = self.pick(("null", self.constant(value, type_)))
            given = value if default == "null" else self.pick((value, ABSENT))
        if is_list_type(get_nullable_type(type_)) and isinstance(given, list) and len(given) == 1 and self.chance(30):
            given = given[0]
        name = self.fresh("v")
        self.variables.append(_Variable(name, str(declared), value, default, given))
        return f"${name}"

    def constant(self, value: Any, type_: GraphQLInputType) -> str:
        """A literal without variables."""
        return self.literal(value, type_, lambda part, part_type: self.constant(part, part_type))

    def literal(
        self, value: Any, type_: GraphQLInputType, inner: Callable[[Any, GraphQLInputType], str] | None = None
    ) -> str:
        write = inner or self.encoded
        nullable = get_nullable_type(type_)
        if value is None:
            return "null"
        if isinstance(nullable, GraphQLList):
            if len(value) == 1 and self.chance(20):
                return self.constant(value[0], nullable.of_type)
            return f"[{', '.join(write(item, nullable.of_type) for item in value)}]"
        if isinstance(nullable, GraphQLInputObjectType):
            parts = [f"{name}: {write(part, nullable.fields[name].type)}" for name, part in value.items()]
            if inner is None:
                absent = [name for name in nullable.fields if name not in value]
                extra = [f"{name}: {text}" for name in absent if (text := self.nothing(nullable.fields[name].type))]
                parts = self.draw(st.permutations([*parts, *extra]))
            return "{" + ", ".join(parts) + "}"
        if isinstance(nullable, GraphQLEnumType):
            return str(value)
        if nullable.name == "JSON":
            return self.json_literal(value, variables=inner is None)
        return self.scalar(value)

    def nothing(self, type_: GraphQLInputType) -> str | None:
        return self.optional(ABSENT, type_) if not is_non_null_type(type_) and self.chance(5) else None

    def json_literal(self, value: Any, *, variables: bool) -> str:
        if isinstance(value, str) and variables and self.chance(30):
            return self.variable(value, self.schema.type_map["String"])
        if isinstance(value, dict):
            if not can_be_literal(value):
                name = self.fresh("v")
                self.variables.append(_Variable(name, "JSON", value, None, value))
                return f"${name}"
            parts = (f"{name}: {self.json_literal(part, variables=variables)}" for name, part in value.items())
            return "{" + ", ".join(parts) + "}"
        if isinstance(value, list):
            return f"[{', '.join(self.json_literal(item, variables=variables) for item in value)}]"
        return self.scalar(value)

    def scalar(self, value: Any) -> str:
        """JSON's escapes are GraphQL's too."""
        return json.dumps(value, ensure_ascii=self.chance(50))


_PAGING = frozenset({"first", "last", "after", "before", "orderBy"})
