"""Documents parsed, validated and compiled once, and kept while they are in use."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import (
    REMOVE,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLDeferDirective,
    GraphQLError,
    GraphQLField,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)

from domain.access import Actor, Permission, Role, TokenScope, permits
from domain.tracing import span
from resolvers.compile.arguments import Uncompilable
from resolvers.compile.permissions import NOWHERE, Place, requirements
from resolvers.compile.recently_used import RecentlyUsed
from resolvers.compile.selection import Document
from resolvers.compile.sources import Member, Sources
from resolvers.compile.statement import Compiler, Statement
from resolvers.compile.variables import Variables
from resolvers.limits.cost import OperationCost, reading_cost
from resolvers.limits.structure import DocumentLimits
from resolvers.limits.weights import weights_of

DOCUMENTS = 1_000
STATEMENTS_PER_DOCUMENT = 50
RIGHTS_PER_DOCUMENT = 50
MAXIMUM_ERRORS = 20
MAXIMUM_CACHED_CHARACTERS = 50_000


@dataclass(slots=True)
class Lookups:
    """How often what was looked for was there, and how often it had to be made."""

    documents_found: int = 0
    documents_made: int = 0
    statements_found: int = 0
    statements_made: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that is not executed, and why."""

    errors: Sequence[GraphQLError]


@dataclass(slots=True)
class PreparedOperation:
    """One operation of a valid document, and the statement of each shape it came in so far, or why there is none."""

    text: str
    """The document as it was sent."""
    document: DocumentNode
    operation: OperationDefinitionNode
    lookup: Document
    variables: Variables
    sources: Sources
    lookups: Lookups
    cost: OperationCost
    reading_cost: int
    """What it cost to read and validate it, until somebody has paid for that."""
    deferring: DocumentNode | None = None
    """The document as it came, where it asks for parts to come later; `document` asks for them all at once."""
    statements: RecentlyUsed[Hashable, Statement | str] = field(
        default_factory=lambda: RecentlyUsed(STATEMENTS_PER_DOCUMENT)
    )
    requirements: Mapping[Permission, frozenset[Place]] = field(default_factory=dict)
    forbidden: frozenset[Place] = NOWHERE
    """The fields that whoever asks may not see: they are never selected."""
    permitted: RecentlyUsed[tuple[Role, frozenset[TokenScope] | None], "PreparedOperation"] = field(
        default_factory=lambda: RecentlyUsed(RIGHTS_PER_DOCUMENT), repr=False
    )

    def permitted_to(self, actor: Actor) -> "PreparedOperation":
        """The same operation with statements that leave out what an actor may not see: itself, where that is nothing.

        Found out once for all who have the same role and scopes.
        """
        rights = (actor.role, actor.scopes)
        permitted = self.permitted.get(rights)
        if permitted is None:
            permitted = self._without(self.missing(*rights))
            self.permitted.put(rights, permitted)
        return permitted

    def missing(self, role: Role, scopes: frozenset[TokenScope] | None) -> list[Permission]:
        """The permissions that the operation asks for and somebody with these rights has not."""
        return [permission for permission in self.requirements if not permits(role, scopes, permission)]

    def _without(self, missing: Sequence[Permission]) -> "PreparedOperation":
        if not missing:
            return self
        forbidden = NOWHERE.union(*(self.requirements[permission] for permission in missing))
        return replace(self, forbidden=forbidden, statements=RecentlyUsed(STATEMENTS_PER_DOCUMENT))

    @property
    def name(self) -> str | None:
        """The operation's name, if it has one."""
        return None if self.operation.name is None else self.operation.name.value

    @property
    def kind(self) -> str:
        """ "query", "mutation" or "subscription"."""
        return self.operation.operation.value

    def statement(self, shape: Hashable, variables: Mapping[str, Any]) -> Statement:
        """The statement for all of a query's fields that Postgres answers. Raises Uncompilable and DomainError."""
        query_type = self.lookup.schema.query_type
        if query_type is None:
            raise Uncompilable("The schema has no queries")
        return self._cached(
            shape, variables, lambda compiler: compiler.operation(query_type, self.operation.selection_set)
        )

    def member_statement(
        self,
        place: Hashable,
        shape: Hashable,
        variables: Mapping[str, Any],
        info: GraphQLResolveInfo[Any],
        source: Member,
    ) -> Statement:
        """The statement for an object inside an answer that was not read, such as a mutation's payload."""
        definition = info.parent_type.fields[info.field_name]
        return self._cached(
            (place, shape), variables, lambda compiler: compiler.member(definition, info.field_nodes, source)
        )

    def stream_statement(
        self,
        place: str,
        shape: Hashable,
        variables: Mapping[str, Any],
        field: GraphQLField,
        key: str,
        nodes: Sequence[FieldNode],
        table: str,
    ) -> Statement:
        """The statement that renders events for a subscription. `place` tells it from others of the operation."""
        return self._cached((place, shape), variables, lambda compiler: compiler.stream(field, key, nodes, table))

    def _cached(
        self, key: Hashable, variables: Mapping[str, Any], compile: Callable[[Compiler], Statement]
    ) -> Statement:
        statement = self.statements.get(key)
        if statement is None:
            self.lookups.statements_made += 1
            with span("graphql.compile"):
                try:
                    statement = compile(Compiler(self.lookup, self.sources, variables, self.forbidden))
                except Uncompilable as reason:
                    statement = str(reason)
            self.statements.put(key, statement)
        else:
            self.lookups.statements_found += 1
        if isinstance(statement, str):
            raise Uncompilable(statement)
        return statement


class Documents:
    """The documents that clients send."""

    def __init__(self, schema: GraphQLSchema, sources: Sources, limits: DocumentLimits | None = None) -> None:
        self._schema = schema
        self._sources = sources
        self._weights = weights_of(schema, sources)
        self._limits = limits or DocumentLimits()
        self.lookups = Lookups()
        self._prepared: RecentlyUsed[tuple[str, str | None], PreparedOperation] = RecentlyUsed(DOCUMENTS)

    def __len__(self) -> int:
        return len(self._prepared)

    def prepare(
        self, query: str, operation_name: str | None, *, hides_suggestions: bool = False
    ) -> PreparedOperation | Refused:
        """The operation to execute, or why there is none, which may hide what else the schema has."""
        key = (query, operation_name)
        prepared = self._prepared.get(key)
        if prepared is not None:
            self.lookups.documents_found += 1
            return prepared
        self.lookups.documents_made += 1
        fresh = self._prepare(query, operation_name, hides_suggestions)
        if isinstance(fresh, PreparedOperation) and len(query) <= MAXIMUM_CACHED_CHARACTERS:
            self._prepared.put(key, fresh)
        return fresh

    def _prepare(self, query: str, operation_name: str | None, hides_suggestions: bool) -> PreparedOperation | Refused:
        limits = self._limits
        try:
            with span("graphql.parse"):
                document = parse(query, no_location=False, max_tokens=limits.tokens)
            with span("graphql.validate"):
                # Limits go first: validating what exceeds them may take for ever.
                errors = limits.check(document) or validate(
                    self._schema,
                    document,
                    specified_rules,
                    max_errors=MAXIMUM_ERRORS,
                    hide_suggestions=hides_suggestions,
                )
        except GraphQLSyntaxError as error:
            return Refused([_limited(error, limits)])
        except RecursionError:
            return Refused([limits.too_deep_to_read()])
        if errors:
            return Refused(errors)
        # Whoever defers nothing need not wait for another walk through the document.
        whole = _without_defer(document) if GraphQLDeferDirective.name in query else document
        operation = _named(whole, operation_name)
        if isinstance(operation, GraphQLError):
            return Refused([operation])
        fragments = {node.name.value: node for node in whole.definitions if isinstance(node, FragmentDefinitionNode)}
        lookup = Document(self._schema, fragments)
        return PreparedOperation(
            query,
            whole,
            operation,
            lookup,
            Variables(self._schema, operation, most_items=limits.list_items),
            self._sources,
            self.lookups,
            OperationCost(lookup, operation, self._weights, self._sources),
            reading_cost(query),
            document if whole is not document else None,
            requirements=requirements(lookup, operation, self._sources.permissions),
        )


def _limited(error: GraphQLSyntaxError, limits: DocumentLimits) -> GraphQLError:
    """What is wrong with a document that cannot be read: where the parser gave up, which it only says in words."""
    if "tokens. Parsing aborted" in error.message:
        return limits.too_many_tokens()
    return limits.too_deep_to_read() if "nested too deeply" in error.message else error


def _without_defer(document: DocumentNode) -> DocumentNode:
    """The same document, itself where it has no `@defer`, with everything in one answer."""
    whole: DocumentNode = visit(document, _Undefer())
    return whole


class _Undefer(Visitor):
    def enter_directive(self, node: DirectiveNode, *_: object) -> object:
        return REMOVE if node.name.value == GraphQLDeferDirective.name else None


def _named(document: DocumentNode, name: str | None) -> OperationDefinitionNode | GraphQLError:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if not operations:
        return GraphQLError("The document has no operation")
    if name is None:
        if len(operations) > 1:
            return GraphQLError("The document has several operations: say which with `operationName`")
        return operations[0]
    for operation in operations:
        if operation.name is not None and operation.name.value == name:
            return operation
    return GraphQLError(f"The document has no operation named {name!r}")
