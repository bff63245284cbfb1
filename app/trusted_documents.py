"""Manifests of trusted documents, made from folders of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSyntaxError,
    Node,
    OperationDefinitionNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from resolvers.compile.documents import Refused
from resolvers.limits.trusted import document_id
from resolvers.operations import Operations


@dataclass(frozen=True, slots=True)
class Manifest:
    """The documents by id, and what is wrong with those that are left out, one line each."""

    documents: Mapping[str, str]
    problems: list[str]


def make_manifest(folder: Path, operations: Operations, *, most_cost: int) -> Manifest:
    """The manifest of all `.graphql` and `.gql` files below a folder.

    Each file with operations is a document. Fragments that it uses and does not have are looked for in the other files.
    Documents have to be valid and within the limits; their cost is that without variables.
    """
    problems: list[str] = []
    parsed: dict[Path, tuple[str, DocumentNode]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".graphql", ".gql") and path.is_file()):
        try:
            text = path.read_text(encoding="utf-8")
            parsed[path] = text, parse(text, no_location=False)
        except (GraphQLSyntaxError, UnicodeDecodeError, OSError) as error:
            problems.append(f"{path}: {error.message if isinstance(error, GraphQLError) else error}")
    shared = {fragment.name.value: fragment for _, document in parsed.values() for fragment in _fragments(document)}
    documents: dict[str, str] = {}
    for path, (text, document) in parsed.items():
        if not any(isinstance(node, OperationDefinitionNode) for node in document.definitions):
            continue
        missing = _missing(document, shared)
        whole = "\n\n".join([text.strip(), *(print_ast(fragment) for fragment in missing)])
        found = [f"{path}: {problem}" for problem in _problems(whole, document, operations, most_cost)]
        problems += found
        if not found:
            documents[document_id(whole)] = whole
    return Manifest(documents, problems)


def _problems(text: str, document: DocumentNode, operations: Operations, most_cost: int) -> Iterable[str]:
    """What keeps a document's operations from being executed, said once for each."""
    told: set[str] = set()
    for operation in (node for node in document.definitions if isinstance(node, OperationDefinitionNode)):
        name = None if operation.name is None else operation.name.value
        prepared = operations.documents.prepare(text, name)
        if isinstance(prepared, Refused):
            told |= {error.message for error in prepared.errors}
        elif (cost := prepared.cost.requested({})) > most_cost:
            told.add(f"{name or 'The operation'} costs {cost}, and {most_cost} is allowed (MAX_COST)")
    return sorted(told)


def _fragments(document: DocumentNode) -> list[FragmentDefinitionNode]:
    return [node for node in document.definitions if isinstance(node, FragmentDefinitionNode)]


def _missing(document: DocumentNode, shared: Mapping[str, FragmentDefinitionNode]) -> list[FragmentDefinitionNode]:
    """The fragments of other files that a document uses, and those that these use."""
    own = {fragment.name.value for fragment in _fragments(document)}
    found: dict[str, FragmentDefinitionNode] = {}
    waiting: list[Node] = [document]
    while waiting:
        for name in _spread(waiting.pop()):
            if name in shared and name not in own and name not in found:
                found[name] = shared[name]
                waiting.append(shared[name])
    return [found[name] for name in sorted(found)]


def _spread(node: Node) -> set[str]:
    names: set[str] = set()

    class Spreads(Visitor):
        def enter_fragment_spread(self, spread: FragmentSpreadNode, *_: object) -> None:
            names.add(spread.name.value)

    visit(node, Spreads())
    return names
