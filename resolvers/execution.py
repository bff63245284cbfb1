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
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)


def execute(
    schema: GraphQLSchema,
    document: DocumentNode,
    root: Any,
    context: Any,
    variables: dict[str, Any],
    operation_name: str | None,
) -> AwaitableOrValue[ExecutionResult]:
    """Execute an operation that defers nothing. graphql-core's own function refuses schemas that know `@defer`."""
    result = experimental_execute_incrementally(
        schema, document, root, context, variables, operation_name, executor_class=Executor
    )
    return _whole(result) if isawaitable(result) else _only(result)


async def _whole(awaited: Awaitable[Result]) -> ExecutionResult:
    return _only(await awaited)


def _only(result: Result) -> ExecutionResult:
    if isinstance(result, ExecutionResult):
        return result
    raise TypeError("a document that defers nothing was answered in parts")
