import pytest

from bench.compiled import compiled_statement
from bench.documents import Document, documents

DOCUMENTS = documents(["0193fd5a-0000-7000-8000-000000000000"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_query_of_the_benchmark_is_answered_by_one_statement_for_all_its_variables(document: Document):
    statements = {compiled_statement(document.query, variables)[0] for variables in document.variables}

    assert len(statements) == 1
