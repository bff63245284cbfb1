"""The compiler is held against ordinary execution: the same document on the same data gives the same answer."""

from hypothesis import given
from hypothesis import strategies as st

from db.database import Database
from resolvers.compile.arguments import Uncompilable
from resolvers.operations import Operations
from tests.resolvers.asking import answer, compiled, ordered, ordinary
from tests.resolvers.documents import requests
from tests.resolvers.values import Values

NOTHING_TO_READ = "Nothing here comes from the database"


@given(data=st.data())
async def test_every_valid_document_is_one_statement_with_the_answer_of_ordinary_execution(
    data: st.DataObject, operations: Operations, awkward: Database, values: Values
):
    request = data.draw(requests(operations.schema, operations.sources, values))
    expected = await ordinary(operations, awkward, request.query, request.variables, request.operation_name)
    try:
        found = await compiled(operations, awkward, request.query, request.variables, request.operation_name)
    except Uncompilable as reason:
        if str(reason) != NOTHING_TO_READ:
            raise
        found = await answer(operations, awkward, request.query, request.variables, request.operation_name)
    assert ordered(found) == ordered(expected)


@given(data=st.data())
async def test_a_document_with_mistakes_has_the_errors_of_ordinary_execution(
    data: st.DataObject, operations: Operations, awkward: Database, values: Values
):
    request = data.draw(requests(operations.schema, operations.sources, values, mistakes=True))
    expected = await ordinary(operations, awkward, request.query, request.variables, request.operation_name)
    found = await answer(operations, awkward, request.query, request.variables, request.operation_name)
    assert ordered(found) == ordered(expected)
    assert b"INTERNAL_SERVER_ERROR" not in found
