"""GraphQL over Server-Sent Events, in the distinct connections mode."""

from typing import Any

import httpx
import orjson
import pytest

from tests.http.event_stream import EVENT_STREAM, EventStream, Told, listen
from tests.http.graphql_socket import CHANGES, connect, open_incident, rename
from tests.servers import ServerProcess


@pytest.fixture
async def incident(http: httpx.AsyncClient) -> str:
    """The id of an incident of the test's own."""
    return await open_incident(http)


async def now(http: httpx.AsyncClient) -> str:
    answer = await http.post("/graphql", json={"query": "{ asOfCursor }"})
    cursor: str = answer.json()["data"]["asOfCursor"]
    return cursor


def change(told: Told) -> Any:
    """The event in a `next` event, whose id is its cursor."""
    assert told.event == "next"
    event = told.data["data"]["incidentEvents"]
    assert told.id == event["cursor"]
    return event


async def has_ended(stream: EventStream) -> bool:
    """Whether the stream ends with `complete`, in the form that browsers tell their pages of."""
    return [told.fields for told in await stream.rest()] == [{"event": ["complete"], "data": [""]}]


async def test_a_query_gets_one_result_and_is_complete(http: httpx.AsyncClient) -> None:
    async with listen(http, "{ __typename }") as stream:
        assert (await stream.hear_event()).data == {"data": {"__typename": "Query"}}
        assert await has_ended(stream)


async def test_a_query_can_be_asked_with_get(http: httpx.AsyncClient) -> None:
    parameters = {"query": "query A($x: Boolean!) { __typename @include(if: $x) }", "variables": '{"x": true}'}
    async with http.stream("GET", "/graphql", params=parameters, headers={"Accept": EVENT_STREAM}) as response:
        stream = EventStream(response)
        assert (await stream.hear_event()).data == {"data": {"__typename": "Query"}}
        assert await has_ended(stream)


async def test_what_happens_comes_with_its_cursor_as_id(http: httpx.AsyncClient, incident: str) -> None:
    variables = {"incident": incident, "after": await now(http)}
    async with listen(http, CHANGES, variables=variables) as stream:
        for title in ("One", "Two"):
            await rename(http, incident, title)
            event = change(await stream.hear_event())
            assert (event["type"], event["incident"]["title"]) == ("INCIDENT_UPDATED", title)


async def test_a_browser_can_subscribe_with_get_and_nothing_is_missed_from_its_start_on(
    http: httpx.AsyncClient, incident: str
) -> None:
    parameters = {"query": CHANGES, "variables": orjson.dumps({"incident": incident}).decode()}
    async with http.stream("GET", "/graphql", params=parameters, headers={"Accept": EVENT_STREAM}) as response:
        stream = EventStream(response)
        assert (await stream.hear()).fields == {"retry": ["1000"]}
        started = await stream.hear()
    assert set(started.fields) == {"id"}
    await rename(http, incident, "Renamed while the browser was away")

    headers = {"Accept": EVENT_STREAM, "Last-Event-ID": started.id or ""}
    async with http.stream("GET", "/graphql", params=parameters, headers=headers) as response:
        event = change(await EventStream(response).hear_event())
        assert event["incident"]["title"] == "Renamed while the browser was away"


async def test_the_last_event_id_goes_before_the_documents_own_cursor(http: httpx.AsyncClient, incident: str) -> None:
    variables = {"incident": incident, "after": await now(http)}
    async with listen(http, CHANGES, variables=variables) as stream:
        cursors = []
        for title in ("One", "Two", "Three"):
            await rename(http, incident, title)
            cursors.append(change(await stream.hear_event())["cursor"])

    async with listen(http, CHANGES, variables=variables, last_event_id=cursors[0]) as stream:
        events = [change(await stream.hear_event()) for _ in range(2)]
    assert [event["cursor"] for event in events] == cursors[1:]
    assert events[0]["previousCursor"] == cursors[0]


async def test_an_empty_last_event_id_is_none(http: httpx.AsyncClient, incident: str) -> None:
    variables = {"incident": incident, "after": await now(http)}
    await rename(http, incident, "Renamed")
    async with listen(http, CHANGES, variables=variables, last_event_id="") as stream:
        assert change(await stream.hear_event())["incident"]["title"] == "Renamed"


@pytest.mark.parametrize(
    ("query", "last_event_id", "code"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
        ("{ nonsense }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", None, "GRAPHQL_VALIDATION_FAILED"),
        (CHANGES, None, "BAD_USER_INPUT"),
        ('subscription { timelineEvents(incidentId: "INC-42") { type } }', None, "NOT_FOUND"),
        ('subscription { events(after: "nonsense") { type } }', None, "INVALID_CURSOR"),
        ("subscription { events { type } }", "nonsense", "INVALID_CURSOR"),
    ],
)
async def test_what_is_wrong_with_an_operation_is_told_by_the_stream(
    http: httpx.AsyncClient, query: str, last_event_id: str | None, code: str
) -> None:
    async with listen(http, query, last_event_id=last_event_id) as stream:
        result = (await stream.hear_event()).data
        assert await has_ended(stream)

    assert set(result) == {"errors"}
    assert {error["extensions"]["code"] for error in result["errors"]} == {code}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"method": "POST", "json": []}, 400),
        ({"method": "POST", "json": {"variables": {}}}, 400),
        ({"method": "POST", "content": "{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"method": "POST", "content": "{ __typename }", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"method": "GET"}, 400),
        ({"method": "GET", "params": {"query": "mutation { __typename }"}}, 405),
        ({"method": "PUT", "json": {"query": "{ __typename }"}}, 406),
    ],
    ids=str,
)
async def test_what_is_wrong_with_the_request_is_an_ordinary_answer(
    http: httpx.AsyncClient, request_: dict[str, Any], status: int
) -> None:
    headers = {**request_.pop("headers", {}), "Accept": EVENT_STREAM}
    answer = await http.request(url="/graphql", headers=headers, **request_)

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["errors"][0]["message"]


async def test_who_takes_json_as_well_gets_a_stream_for_subscriptions_only(
    http: httpx.AsyncClient, incident: str
) -> None:
    both = {"Accept": f"application/graphql-response+json, application/json, {EVENT_STREAM}"}
    answer = await http.post("/graphql", json={"query": "{ __typename }"}, headers=both)
    assert answer.headers["content-type"].startswith("application/graphql-response+json")
    assert answer.json() == {"data": {"__typename": "Query"}}

    variables = {"incident": incident, "after": await now(http)}
    await rename(http, incident, "Renamed")
    body = {"query": CHANGES, "variables": variables}
    async with http.stream("POST", "/graphql", json=body, headers=both) as response:
        assert change(await EventStream(response).hear_event())["incident"]["title"] == "Renamed"


async def test_who_takes_json_only_is_told_how_to_subscribe(http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", json={"query": "subscription { events { type } }"})

    assert answer.json()["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_NOT_SUPPORTED"
    assert EVENT_STREAM in answer.json()["errors"][0]["message"]


async def test_a_stream_with_nothing_to_tell_gets_comments(impatient_server: ServerProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=impatient_server.url, timeout=30) as http,
        listen(http, "subscription { events(filter: {types: [DEPLOYMENT_RECORDED]}) { type } }") as stream,
    ):
        while (await stream.hear()).fields != {"": [""]}:
            pass
        assert (await stream.hear()).fields == {"": [""]}


async def test_streams_last_longer_than_an_operation_may(strict_server: ServerProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=strict_server.url, timeout=30) as http,
        listen(http, CHANGES, variables={"incident": (incident := await open_incident(http))}) as stream,
    ):
        query = "query($id: ID!) { incident(id: $id) { durationSeconds } }"
        while True:  # An operation may take 1 s.
            answer = await http.post("/graphql", json={"query": query, "variables": {"id": incident}})
            if answer.json()["data"]["incident"]["durationSeconds"] > 1.5:
                break
        await rename(http, incident, "Renamed")
        # That it was opened may get its place in the log after the stream began; hearing nothing more ends the test.
        while change(await stream.hear_event())["incident"]["title"] != "Renamed":
            continue


async def test_streams_and_sockets_of_one_address_are_limited_together(impatient_server: ServerProcess) -> None:
    subscription = "subscription { events { type } }"
    async with (
        httpx.AsyncClient(base_url=impatient_server.url, timeout=30) as http,
        connect(impatient_server.url),
        listen(http, subscription),
        listen(http, subscription),
    ):
        answer = await http.post("/graphql", json={"query": subscription}, headers={"Accept": EVENT_STREAM})

    assert answer.status_code == 429
    assert "MAX_STREAMS_PER_ADDRESS" in answer.json()["errors"][0]["message"]
    assert answer.headers["retry-after"]


async def test_pages_of_allowed_origins_can_read_a_stream(strict_server: ServerProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=strict_server.url, headers={"Origin": "https://studio.example"}, timeout=30) as http,
        listen(http, "{ __typename }") as stream,
    ):
        assert stream.response.headers["access-control-allow-origin"] == "https://studio.example"
        assert stream.response.headers["x-request-id"]
