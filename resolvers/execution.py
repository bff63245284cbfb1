"""Ordinary execution, through which finished JSON passes as it is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import isawaitable, iscoroutinefunction
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    ExperimentalIncrementalExecutionResults,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    experimental_execute_incrementally,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.execution.values import get_argument_values
from graphql.pyutils import AwaitableOrValue, Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from resolvers.context import RequestContext, Running
from resolvers.errors import field_error
from resolvers.prefetched import Prefetched
from resolvers.rendering import Deferred, Plain, Writer, writer_of


async def answer_to_event(name: str, event: Any, running: Running, context: RequestContext) -> dict[str, Any]:
    """The answer to one event of a subscription, whose field has this name."""
    executing = execute(
        running.prepared.lookup.schema,
        running.prepared.document,
        {name: event},
        context,
        dict(running.variables),
        running.prepared.name,
    )
    result = executing if isinstance(executing, ExecutionResult) else await executing
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [field_error(error, context.request_id) for error in result.errors]
    return body


Result = ExecutionResult | ExperimentalIncrementalExecutionResults


@dataclass(frozen=True, slots=True)
class _Question:
    """A field with a resolver to be awaited, and its arguments."""

    field: GraphQLField
    resolve: Callable[..., Awaitable[Any]]
    arguments: Mapping[str, Any]


class Executor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor, which neither completes nor checks what Postgres has already written as JSON.

    Items of one list share the list of each field's details, so what follows from that is found out once, and known by
    its id. The list is kept beside it, so that the id is not given again.
    """

    @cached_property
    def _questions(self) -> dict[int, tuple[_Question | None, list[FieldDetails]]]:
        return {}

    @cached_property
    def _writers(self) -> dict[tuple[GraphQLOutputType, int], tuple[Writer, list[FieldDetails]]]:
        return {}

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: list[FieldDetails],
        path: Path,
        position_context: Any,
    ) -> Any:
        """Of a mixed object: a finished member as it is, and of its others the arguments only once for all items."""
        if type(source) is not Prefetched:
            return super().execute_field(parent_type, source, field_details_list, path, position_context)
        if type(source.members.get(str(path.key))) is str:
            return source.member(str(path.key))
        question = self._question(parent_type, field_details_list)
        if question is None:
            return super().execute_field(parent_type, source, field_details_list, path, position_context)
        nodes = [details.node for details in field_details_list]
        info = self.build_resolve_info(question.field, nodes, parent_type, path)
        asked = question.resolve(source, info, **question.arguments)
        return self.complete_awaitable_value(
            question.field.type, field_details_list, info, path, asked, position_context
        )

    def _question(self, parent_type: GraphQLObjectType, details: list[FieldDetails]) -> _Question | None:
        """What is asked of a field that has to be awaited; None for another, or with arguments that are refused."""
        if id(details) not in self._questions:
            self._questions[id(details)] = (self._asked(parent_type, details[0]), details)
        return self._questions[id(details)][0]

    def _asked(self, parent_type: GraphQLObjectType, first: FieldDetails) -> _Question | None:
        field = self.schema.get_field(parent_type, first.node.name.value)
        if field is None or field.resolve is None or not iscoroutinefunction(field.resolve):
            return None
        try:
            arguments = get_argument_values(
                field, first.node, self.variable_values, first.fragment_variable_values, self.hide_suggestions
            )
        except GraphQLError:
            return None  # Ordinary execution says what is wrong, and where.
        return _Question(field, field.resolve, arguments)

    def complete_value(
        self,
        return_type: GraphQLOutputType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> AwaitableOrValue[Any]:
        """A finished value as it is; everything else as the specification says."""
        if type(result) is orjson.Fragment:
            return result
        if type(result) is Plain:
            return self._written(return_type, field_details_list, info, path, result, position_context)
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)

    def _written(
        self,
        return_type: GraphQLOutputType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Plain,
        position_context: Any,
    ) -> AwaitableOrValue[Any]:
        """A plain value, its whole selection written at once unless a part of that is deferred."""
        key = (return_type, id(field_details_list))
        try:
            if key not in self._writers:
                self._writers[key] = (writer_of(self, return_type, field_details_list), field_details_list)
        except Deferred:
            return super().complete_value(return_type, field_details_list, info, path, result.value, position_context)
        return orjson.Fragment(orjson.dumps(self._writers[key][0](result.value)))


def execute(
    schema: GraphQLSchema,
    document: DocumentNode,
    root: Any,
    context: Any,
    variables: dict[str, Any],
    operation_name: str | None,
    *,
    hides_suggestions: bool = False,
) -> AwaitableOrValue[ExecutionResult]:
    """Execute an operation that defers nothing. graphql-core's own function refuses schemas that know `@defer`."""
    result = experimental_execute_incrementally(
        schema,
        document,
        root,
        context,
        variables,
        operation_name,
        executor_class=Executor,
        hide_suggestions=hides_suggestions,
    )
    return _whole(result) if isawaitable(result) else _only(result)


async def _whole(awaited: Awaitable[Result]) -> ExecutionResult:
    return _only(await awaited)


def _only(result: Result) -> ExecutionResult:
    if isinstance(result, ExecutionResult):
        return result
    raise TypeError("a document that defers nothing was answered in parts")
