"""The limits of servers, over HTTP, event streams and WebSockets, and of two servers together."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.http.event_stream import listen
from tests.http.graphql_socket import connect
from tests.postgres import TEMPLATE, run_sql
from tests.security.signing import SECRET, bearer, token
from tests.servers import ServerProcess

GRAPHQL_RESPONSE = "application/graphql-response+json"
COSTS_102 = "{ incidents(first: 92) { nodes { id } } }"
INTROSPECTION = "{ __schema { queryType { name } } }"
CAPACITY = 1_000
NARROW = {
    "RATE_LIMIT_ADDRESS": "0.5",
    "RATE_LIMIT_BURST_SECONDS": "2000",
    "MAX_COST": "400",
    "INTROSPECTION_ROLE": "nobody",
    "EXPLORER_ROLE": "nobody",
}


@pytest.fixture(scope="module")
async def pair(postgres: Any) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers of one fleet, which fill half a unit in a second."""
    await run_sql(postgres.url, f"create database limited template {TEMPLATE} strategy file_copy")
    url = postgres.url_of("limited")
    async with ServerProcess(DATABASE_URL=url, **NARROW) as one, ServerProcess(DATABASE_URL=url, **NARROW) as other:
        yield one, other


@pytest.fixture
async def http(pair: tuple[ServerProcess, ServerProcess]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the first."""
    async with httpx.AsyncClient(base_url=pair[0].url, timeout=30) as client:
        yield client


async def post(
    client: httpx.AsyncClient, query: str, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    return await client.post("/graphql", json={"query": query, **more}, headers=headers)


@pytest.fixture(scope="module")
async def signed(postgres: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server where who asks matters: each viewer has 100 units, and one more in ten seconds."""
    await run_sql(postgres.url, f"create database signed template {TEMPLATE} strategy file_copy")
    async with (
        ServerProcess(
            DATABASE_URL=postgres.url_of("signed"),
            AUTH_ENABLED="true",
            JWT_SECRET=SECRET,
            RATE_LIMIT_VIEWER="0.1",
            RATE_LIMIT_BURST_SECONDS="1000",
            INTROSPECTION_ROLE="admin",
            EXPLORER_ROLE="responder",
        ) as running,
        httpx.AsyncClient(base_url=running.url, timeout=30) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("role", "introspection", "page"), [("viewer", False, 403), ("responder", False, 200), ("admin", True, 200)]
)
async def test_the_schema_and_the_explorer_are_for_some_roles(
    signed: httpx.AsyncClient, role: str, introspection: bool, page: int
) -> None:
    proof = bearer(token(sub=f"{role}@example.com", role=role))

    asked = await signed.post("/graphql", json={"query": '{ __type(name: "Query") { name } }'}, headers=proof)
    navigated = await signed.get("/graphql", headers={**proof, "Accept": "text/html"})

    assert ("data" in asked.json()) is introspection
    assert navigated.status_code == page
    assert (await signed.get("/graphql", headers={"Accept": "text/html"})).status_code == 401


async def test_viewers_behind_one_address_do_not_take_from_each_other(signed: httpx.AsyncClient) -> None:
    eager, calm = (bearer(token(sub=name, name=name, role="viewer")) for name in ("Eager", "Calm"))
    query = {"query": "{ incidents(first: 40) { nodes { id } } }"}

    eagerly = [(await signed.post("/graphql", json=query, headers=eager)).status_code for _ in range(3)]
    calmly = await signed.post("/graphql", json=query, headers=calm)
    over_rest = await signed.get("/api/incidents", headers=eager)

    assert eagerly == [200, 200, 429]
    assert calmly.status_code == 200
    assert over_rest.status_code == 429


async def test_people_of_the_same_name_whom_others_vouch_for_do_not_take_from_each_other(
    signed: httpx.AsyncClient,
) -> None:
    query = {"query": "{ incidents(first: 40) { nodes { id } } }"}
    eager, namesake, elsewhere = (
        bearer(token(name="Sam", role="viewer", **said))
        for said in ({"sub": "sam-1"}, {"sub": "sam-2"}, {"sub": "sam-1", "iss": "https://elsewhere.example"})
    )

    eagerly = [(await signed.post("/graphql", json=query, headers=eager)).status_code for _ in range(3)]

    assert eagerly == [200, 200, 429]
    for other in (namesake, elsewhere):
        assert (await signed.post("/graphql", json=query, headers=other)).status_code == 200
    renamed = bearer(token(name="Samantha", role="viewer", sub="sam-1"))
    assert (await signed.post("/graphql", json=query, headers=renamed)).status_code == 429


async def test_a_schema_that_nobody_may_ask_about_says_nothing(http: httpx.AsyncClient) -> None:
    refused = (await post(http, INTROSPECTION)).json()["errors"][0]
    misspelt = (await post(http, "{ incidnts { nodes { id } } }")).json()["errors"][0]
    page = await http.get("/graphql", headers={"Accept": "text/html"})

    assert refused["extensions"]["code"] == "FORBIDDEN"
    assert misspelt["message"] == "Cannot query field 'incidnts' on type 'Query'."
    assert page.status_code == 404
    assert (await post(http, "{ __typename }")).json() == {"data": {"__typename": "Query"}}


async def test_batches_are_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", json=[{"query": "{ __typename }"}] * 100)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == (
        "The body is a list, and batches are not supported: send one operation per request"
    )


@pytest.mark.parametrize(("media_type", "status"), [("application/json", 200), (GRAPHQL_RESPONSE, 400)])
async def test_what_costs_too_much_is_a_wrong_request(http: httpx.AsyncClient, media_type: str, status: int) -> None:
    query = "{ a: incidents(first: 200) { nodes { id } } b: slos(first: 200) { nodes { id } } }"

    refused = await http.post("/graphql", json={"query": query}, headers={"Accept": media_type})

    assert refused.status_code == status
    assert refused.json()["errors"][0]["extensions"]["limit"] == "cost"
    assert refused.json()["extensions"]["cost"]["maximum"] == 400


async def test_what_costs_too_much_is_told_by_an_event_stream_as_whatever_is_wrong_with_a_document(
    http: httpx.AsyncClient,
) -> None:
    query = "{ a: incidents(first: 200) { nodes { id } } b: slos(first: 200) { nodes { id } } }"

    async with listen(http, query) as stream:
        told = (await stream.hear_event()).data

    assert told["errors"][0]["extensions"]["limit"] == "cost"
    assert told["extensions"]["cost"]["maximum"] == 400


async def test_two_servers_share_a_bucket_and_say_everywhere_when_it_is_empty(
    pair: tuple[ServerProcess, ServerProcess], http: httpx.AsyncClient
) -> None:
    """They may let pass a bucket each at most; having heard of each other, one and a bit."""
    async with httpx.AsyncClient(base_url=pair[1].url, timeout=30) as other:
        passed = 0
        refused: dict[str, httpx.Response] = {}
        for number in range(60):
            client = (http, other)[number % 2]
            answer = await post(client, COSTS_102)
            if answer.status_code == 429:
                refused[str(client.base_url)] = answer
            else:
                assert "errors" not in answer.json()
                passed += 1
            if len(refused) == 2:
                break

        assert 102 * passed <= 2 * CAPACITY
        assert 102 * passed >= CAPACITY - 3 * 102
        for answer in refused.values():
            body = answer.json()
            (error,) = body["errors"]
            assert error["extensions"]["code"] == "TOO_MANY_REQUESTS"
            assert error["extensions"]["limit"] == "address"
            assert int(answer.headers["retry-after"]) == pytest.approx(error["extensions"]["retryAfterSeconds"], abs=1)
            assert body["extensions"]["cost"]["refillPerSecond"] == 0.5
            assert body["extensions"]["cost"]["requested"] > 100

        await empty(http)
        rest = await http.get("/api/incidents")
        assert (rest.status_code, "retry-after" in rest.headers) == (429, True)
        assert "RATE_LIMIT_ADDRESS" in rest.json()["error"]
        written = await http.post("/api/incidents", json={"title": "Too many", "severity": "low"})
        mutated = await post(http, 'mutation { resolveIncident(id: "x") { cursor } }')
        assert (written.status_code, mutated.status_code) == (429, 429)
        async with connect(pair[0].url) as socket:
            for id, query in (("1", COSTS_102), ("2", "subscription { events { type } }")):
                await socket.subscribe(id, query)
                error = await socket.hear()
                assert (error["id"], error["type"]) == (id, "error")
                assert error["payload"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
                assert error["payload"][0]["extensions"]["retryAfterSeconds"] > 0
        for query in ("subscription { events { type } }", COSTS_102):
            streamed = await post(http, query, headers={"Accept": "text/event-stream"})
            assert streamed.status_code == 429
            assert int(streamed.headers["retry-after"]) > 0
            assert streamed.json()["errors"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
            assert streamed.json()["extensions"]["cost"]["refillPerSecond"] == 0.5


async def empty(client: httpx.AsyncClient) -> None:
    """Take what is left in a bucket, for what costs little."""
    while (await post(client, "{ __typename }")).status_code != 429:
        pass
