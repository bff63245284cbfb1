"""Which fields a selection asks for of a runtime type (GraphQL specification, section 6.3.2, CollectFields)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    is_abstract_type,
)

from resolvers.compile.arguments import Uncompilable

Selections = dict[str, list[FieldNode]]


@dataclass(frozen=True, slots=True)
class Document:
    """What the fields of an operation are looked up in."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]


def collect(
    document: Document,
    runtime_type: GraphQLObjectType,
    selection_sets: Iterable[SelectionSetNode | None],
    variables: Mapping[str, object],
) -> Selections:
    """The fields to read, by response key in the order of the answer; several nodes where one is asked repeatedly."""
    found: Selections = {}
    visited: set[str] = set()
    for selection_set in selection_sets:
        if selection_set is not None:
            _collect(document, runtime_type, selection_set, variables, found, visited)
    return found


def _collect(
    document: Document,
    runtime_type: GraphQLObjectType,
    selection_set: SelectionSetNode,
    variables: Mapping[str, object],
    found: Selections,
    visited: set[str],
) -> None:
    for node in selection_set.selections:
        if not _is_included(node.directives, variables):
            continue
        if isinstance(node, FieldNode):
            key = node.alias.value if node.alias else node.name.value
            found.setdefault(key, []).append(node)
            continue
        fragment: FragmentDefinitionNode | InlineFragmentNode
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name in visited:
                continue
            visited.add(name)
            fragment = document.fragments[name]
        elif isinstance(node, InlineFragmentNode):
            fragment = node
        else:
            raise TypeError(f"Unknown selection: {node.kind}")
        if _applies(document.schema, fragment, runtime_type):
            _collect(document, runtime_type, fragment.selection_set, variables, found, visited)


def _is_included(directives: Sequence[DirectiveNode] | None, variables: Mapping[str, object]) -> bool:
    return not directives or (
        not any(_conditions(directives, "skip", variables)) and all(_conditions(directives, "include", variables))
    )


def _conditions(directives: Iterable[DirectiveNode], name: str, variables: Mapping[str, object]) -> list[bool]:
    return [
        _is_true(argument.value, variables)
        for directive in directives
        if directive.name.value == name
        for argument in directive.arguments or ()
    ]


def _is_true(condition: ValueNode, variables: Mapping[str, object]) -> bool:
    if isinstance(condition, BooleanValueNode):
        return condition.value
    value = variables[condition.name.value] if isinstance(condition, VariableNode) else None
    if not isinstance(value, bool):
        raise Uncompilable("A directive's condition is null")
    return value


def _applies(
    schema: GraphQLSchema, fragment: FragmentDefinitionNode | InlineFragmentNode, runtime_type: GraphQLObjectType
) -> bool:
    condition = fragment.type_condition
    if condition is None or condition.name.value == runtime_type.name:
        return True
    conditional_type = schema.type_map[condition.name.value]
    return is_abstract_type(conditional_type) and schema.is_sub_type(conditional_type, runtime_type)
