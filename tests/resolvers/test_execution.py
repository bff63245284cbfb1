"""Ordinary execution lets finished JSON pass. This rests on names inside graphql-core, which are held here."""

import inspect
from typing import Any

import orjson
import pytest
import strawberry
from graphql import ExecutionResult, execute, parse
from graphql.execution import Executor as GraphQLExecutor
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from resolvers.execution import Executor

FINISHED = orjson.Fragment(b'{"name":"checkout","tier":null}')


@strawberry.type
class Service:
    name: str
    tier: int | None


@strawberry.type
class Query:
    @strawberry.field
    def at_once(self) -> Service:
        return FINISHED  # type: ignore[return-value]  # what the compiler hands over

    @strawberry.field
    async def later(self) -> Service | None:
        return FINISHED  # type: ignore[return-value]  # likewise

    @strawberry.field
    async def several(self) -> list[Service]:
        return [FINISHED, Service(name="search", tier=1), FINISHED]  # type: ignore[list-item]  # likewise

    @strawberry.field
    async def whole(self) -> list[Service]:
        return orjson.Fragment(b"[1]")  # type: ignore[return-value]  # not even looked at

    @strawberry.field
    async def ordinary(self) -> Service:
        return Service(name="search", tier=None)

    @strawberry.field
    async def missing(self) -> Service:
        return None  # type: ignore[return-value]  # what the schema forbids


SCHEMA = strawberry.Schema(Query)._schema


async def run(query: str) -> ExecutionResult:
    executing = execute(SCHEMA, parse(query), executor_class=Executor)
    return executing if isinstance(executing, ExecutionResult) else await executing


def test_graphql_core_completes_values_where_ours_looks_for_finished_ones():
    assert issubclass(Executor, StrawberryGraphQLCoreExecutionContext)
    assert issubclass(Executor, GraphQLExecutor)
    assert "executor_class" in inspect.signature(execute).parameters
    names = ["self", "return_type", "field_details_list", "info", "path", "result", "position_context"]
    assert list(inspect.signature(GraphQLExecutor.complete_value).parameters) == names
    assert list(inspect.signature(Executor.complete_value).parameters) == names


@pytest.mark.parametrize("field", ["atOnce", "later"])
async def test_finished_json_passes_as_it_is(field: str):
    result = await run(f"{{ found: {field} {{ tier }} }}")
    assert result.errors is None
    assert orjson.loads(orjson.dumps(result.data)) == {"found": {"name": "checkout", "tier": None}}


async def test_finished_json_stands_beside_ordinary_values():
    result = await run("{ later { name } several { name } ordinary { name } whole { name } }")
    assert result.errors is None
    finished: Any = {"name": "checkout", "tier": None}
    assert orjson.loads(orjson.dumps(result.data)) == {
        "later": finished,
        "several": [finished, {"name": "search"}, finished],
        "ordinary": {"name": "search"},
        "whole": [1],
    }


async def test_ordinary_values_are_completed_and_checked():
    result = await run("{ later { name } missing { name } }")
    assert result.data is None
    assert [error.path for error in result.errors or ()] == [["missing"]]
