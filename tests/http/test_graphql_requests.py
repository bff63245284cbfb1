"""Requests to the GraphQL endpoint, well-formed and otherwise: whatever a client sends, the server is not at fault."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import ServerProcess

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
DEEP = 2000


async def post(http: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await http.post("/graphql", content=content, headers={"Content-Type": JSON, **headers})


def message(response: httpx.Response) -> str:
    (error,) = response.json()["errors"]
    assert set(response.json()) == {"errors"}
    text: str = error["message"]
    return text


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"NaN", "not JSON"),
        (b'{"query": NaN}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"query": "\xff"}', "not valid UTF-8"),
        (b'{"query": "\\ud800"}', "not JSON"),
        (b"\x00", "not JSON"),
        (b"[" * DEEP + b"]" * DEEP, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b'"{ __typename }"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"7", "must be a JSON object"),
        (b"true", "must be a JSON object"),
        (b'[{"query": "{ __typename }"}]', "batches are not supported"),
        (b"{}", "query is missing"),
        (b'{"query": null}', "query is missing"),
        (b'{"query": 7}', "query must be a string"),
        (b'{"query": "{ __typename }", "variables": []}', "variables must be an object"),
        (b'{"query": "{ __typename }", "variables": "{}"}', "variables must be an object"),
        (b'{"query": "{ __typename }", "operationName": 7}', "operationName must be a string"),
        (b'{"query": "{ __typename }", "extensions": 7}', "extensions must be an object"),
        (b'{"query": "{ __typename }", "variables": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}", "nested more than"),
    ],
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL_RESPONSE])
async def test_a_body_that_is_no_request_is_told_what_is_wrong(
    http: httpx.AsyncClient, body: bytes, complaint: str, accept: str
) -> None:
    response = await post(http, body, Accept=accept)

    assert response.status_code == 400
    assert response.headers["content-type"] == f"{accept}; charset=utf-8"
    assert complaint in message(response)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "nonsense",
        ";;;",
        "x" * 10_000,
    ],
)
async def test_another_content_type_than_json_in_utf_8_is_refused(http: httpx.AsyncClient, content_type: str) -> None:
    response = await http.post(
        "/graphql", content=b'{"query": "{ __typename }"}', headers={"Content-Type": content_type}
    )

    assert response.status_code == 415
    assert "application/json" in message(response)


async def test_a_body_without_a_content_type_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql", content=b'{"query": "{ __typename }"}')

    assert response.status_code == 415


async def test_a_compressed_body_is_refused(http: httpx.AsyncClient) -> None:
    response = await post(http, {"query": "{ __typename }"}, **{"Content-Encoding": "gzip"})

    assert response.status_code == 415


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": ""}, None),
        ({"query": "{ nothingOfTheKind }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query A { __typename } query B { __typename }"}, None),
        ({"query": "query A { __typename }", "operationName": "B"}, None),
        ({"query": "query Q($id: ID!) { __typename }", "variables": {"id": None}}, None),
        ({"query": "query Q($id: ID!) { __typename }", "variables": {"id": 10**30}}, None),
        ({"query": "query Q($n: Int!) { incidentByNumber(number: $n) { id } }", "variables": {"n": 2**40}}, None),
        ({"query": "{" * DEEP}, None),
        ({"query": "{ incidents " * 300 + "{ __typename }" + "}" * 300}, None),
    ],
)
async def test_a_document_that_cannot_run_is_an_answer_to_old_clients_and_a_refusal_to_new_ones(
    http: httpx.AsyncClient, request_: dict[str, Any], code: str | None
) -> None:
    old = await post(http, request_, Accept=JSON)
    new = await post(http, request_, Accept=GRAPHQL_RESPONSE)

    assert new.status_code == 400
    assert old.status_code in (200, 400)
    assert "data" not in new.json()
    if code is not None:
        assert old.status_code == 200
        assert new.json()["errors"][0]["extensions"]["code"] == code


async def test_variables_and_an_operation_name_choose_what_is_answered(http: httpx.AsyncClient) -> None:
    document = "query A { __typename } query Find($name: String!) { serviceByName(name: $name) { name } }"
    request = {"query": document, "operationName": "Find", "variables": {"name": "CHECKOUT"}, "extensions": {}}
    response = await post(http, request)

    assert response.json() == {"data": {"serviceByName": {"name": "checkout"}}}


async def test_a_query_can_be_sent_in_the_url(http: httpx.AsyncClient) -> None:
    parameters = {
        "query": "query Find($name: String!) { serviceByName(name: $name) { name } }",
        "variables": '{"name": "search"}',
        "operationName": "",
        "extensions": "",
    }
    response = await http.get("/graphql", params=parameters)

    assert (response.status_code, response.json()) == (200, {"data": {"serviceByName": {"name": "search"}}})
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query_string", "status"),
    [
        ("", 400),
        ("query=", 400),
        ("query=%FF", 400),
        ("query=%7B__typename%7D&query=%7B__typename%7D", 400),
        ("query=%7B__typename%7D&variables=%7B", 400),
        ("query=%7B__typename%7D&variables=[]", 400),
        ("query=%7B__typename%7D&variables=" + "[" * 200 + "]" * 200, 400),
        ("&".join(["x=1"] * 200), 400),
        ("query=%7B__typename%7D&unknown=1", 200),
    ],
)
async def test_a_url_that_is_no_request_is_told_what_is_wrong(
    http: httpx.AsyncClient, query_string: str, status: int
) -> None:
    response = await http.get(f"/graphql?{query_string}", headers={"Accept": GRAPHQL_RESPONSE})

    assert response.status_code == status


async def test_a_url_that_is_too_long_is_refused(server_url: str) -> None:
    head = b" HTTP/1.0\r\nHost: localhost\r\nGraphQL-Require-Preflight: 1\r\n\r\n"
    answer = await exchange(server_url, b"GET /graphql?query=" + b"a" * 40_000 + head)

    assert answer.startswith(b"HTTP/1.1 414 ")


async def test_a_mutation_is_not_run_from_a_url(http: httpx.AsyncClient) -> None:
    response = await http.get("/graphql", params={"query": "mutation { __typename }"})

    assert response.status_code in (200, 405)
    assert "data" not in response.json()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
async def test_other_methods_are_refused_with_those_that_there_are(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "/graphql")

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST, OPTIONS"


async def test_a_head_request_gets_headers_and_no_body(http: httpx.AsyncClient) -> None:
    response = await http.head("/graphql", params={"query": "{ __typename }"})

    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


async def test_a_client_that_takes_nothing_we_have_is_told_so(http: httpx.AsyncClient) -> None:
    response = await post(http, {"query": "{ __typename }"}, Accept="image/png")

    assert response.status_code == 406


async def test_a_browser_gets_a_page_and_a_query_in_the_url_gets_data(http: httpx.AsyncClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = await http.get("/graphql", headers=browser)
    data = await http.get("/graphql", params={"query": "{ __typename }"}, headers=browser)

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert data.json() == {"data": {"__typename": "Query"}}


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(http: httpx.AsyncClient) -> None:
    response = await post(http, b'{"query": "' + b" " * 1_100_000 + b'"}')

    assert response.status_code == 413
    assert "1048576" in message(response)


async def test_a_body_whose_length_is_not_declared_is_bounded_as_well(strict_http: httpx.AsyncClient) -> None:
    async def endless() -> Any:
        yield b'{"query": "'
        for _ in range(100):
            yield b" " * 1000

    response = await strict_http.post("/graphql", content=endless(), headers={"Content-Type": JSON})

    assert response.status_code == 413


async def test_a_body_that_does_not_arrive_in_time_is_answered_and_the_connection_closed(
    strict_server: ServerProcess,
) -> None:
    answer = await exchange(
        strict_server.url,
        b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    )

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"REQUEST_TIMEOUT" in answer


@pytest.mark.parametrize("declared", ["5", "99999999999999999999", "-1", "abc", "1, 2"])
async def test_a_content_length_that_lies_is_no_fault_of_the_server(
    strict_server: ServerProcess, declared: str
) -> None:
    body = b'{"query": "{ __typename }"}'
    head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {declared}\r\n\r\n"
    answer = await exchange(strict_server.url, head.encode() + body)

    assert b"HTTP/1.1 4" in answer
    assert b"HTTP/1.1 5" not in answer


async def exchange(url: str, request: bytes) -> bytes:
    """Everything that the server sends for some bytes, until it closes the connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
        await writer.wait_closed()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "query": json_values
        | st.sampled_from(
            [
                "{ __typename }",
                "query A($x: String) { serviceByName(name: $x) { name } }",
                "query A($f: IncidentFilter, $n: Int) { incidents(filter: $f, first: $n) { totalCount } }",
                "query A($c: String) { incidents(after: $c) { nodes { id } } }",
                "query A($i: ID!) { node(id: $i) { id } incident(id: $i) { title } }",
            ]
        ),
        "operationName": json_values | st.just("A"),
        "variables": json_values | st.dictionaries(st.sampled_from(["x", "f", "n", "c", "i"]), json_values),
        "extensions": json_values,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | json_values.map(orjson.dumps) | requests.map(orjson.dumps))
async def test_no_body_is_answered_with_a_fault_of_the_server(http: httpx.AsyncClient, body: bytes) -> None:
    response = await post(http, body, Accept=GRAPHQL_RESPONSE)

    assert response.status_code < 500, response.text
    assert {"data", "errors"} & response.json().keys()
    assert b"INTERNAL_SERVER_ERROR" not in response.content


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.binary(max_size=100), accept=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
async def test_no_url_and_no_accept_header_is_answered_with_a_fault_of_the_server(
    http: httpx.AsyncClient, query: bytes, accept: str
) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in query)
    response = await http.get(f"/graphql?query={quoted}", headers={"Accept": accept.strip()})

    assert response.status_code < 500, response.text


class TestDraftProfile:
    """The status codes of GraphQL over HTTP as the working draft of August 2026 has them."""

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"{", 400),
            (b"[]", 422),
            (b"{}", 422),
            (b'{"query": "{ __typename }", "variables": [7]}', 422),
            (b'{"query": "{"}', 400),
            (b'{"query": "{ nothingOfTheKind }"}', 422),
            (b'{"query": "query A { __typename } query B { __typename }"}', 422),
            (b'{"query": "query Q($id: ID!) { incident(id: $id) { id } }", "variables": {"id": null}}', 422),
            (b'{"query": "{ __typename }"}', 200),
        ],
    )
    @pytest.mark.parametrize("accept", [JSON, GRAPHQL_RESPONSE])
    async def test_each_failure_has_its_status(
        self, strict_http: httpx.AsyncClient, body: bytes, status: int, accept: str
    ) -> None:
        response = await post(strict_http, body, Accept=accept)

        assert response.status_code == status
        media_type = accept if status == 200 else GRAPHQL_RESPONSE
        assert response.headers["content-type"] == f"{media_type}; charset=utf-8"

    async def test_an_answer_with_data_and_errors_is_a_partial_success(self, strict_http: httpx.AsyncClient) -> None:
        query = '{ __typename incidents(after: "nonsense") { totalCount } }'
        response = await post(strict_http, {"query": query}, Accept=GRAPHQL_RESPONSE)

        assert response.status_code == 294
        assert response.json()["errors"][0]["extensions"]["code"] == "INVALID_CURSOR"
