"""Ordinary execution, through which finished JSON passes as it is."""

from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    ExperimentalIncrementalExecutionResults,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    experimental_execute_incrementally,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import AwaitableOrValue, Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from resolvers.context import RequestContext, Running
from resolvers.errors import field_error
from resolvers.rendering import Deferred, Plain, writer_of


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


class Executor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor, which neither completes nor checks what Postgres has already written as JSON."""

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
        # Items of one list share the list of their field's details. It is kept, so that its id is not given again.
        writers = self.__dict__.setdefault("_writers", {})
        key = (return_type, id(field_details_list))
        try:
            if key not in writers:
                writers[key] = (writer_of(self, return_type, field_details_list), field_details_list)
        except Deferred:
            return super().complete_value(return_type, field_details_list, info, path, result.value, position_context)
        return orjson.Fragment(orjson.dumps(writers[key][0](result.value)))


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
