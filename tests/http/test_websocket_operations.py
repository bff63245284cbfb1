"""Operations over WebSocket: their results, their ends, and their errors, each told to its own operation alone."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from tests.http.graphql_socket import CHANGES, GraphQLSocket, connect, open_incident, rename
from tests.servers import ServerProcess
from tests.waiting import until


@pytest.fixture
async def socket(server_url: str) -> AsyncIterator[GraphQLSocket]:
    """A socket that has begun."""
    async with connect(server_url) as opened:
        yield opened


@pytest.fixture
async def incident(http: httpx.AsyncClient) -> str:
    """The id of an incident of the test's own."""
    return await open_incident(http)


class TestOperations:
    async def test_a_query_gets_one_result_and_is_complete(self, socket: GraphQLSocket) -> None:
        await socket.subscribe("1", "{ __typename }")

        assert await socket.hear() == {"id": "1", "type": "next", "payload": {"data": {"__typename": "Query"}}}
        assert await socket.hear() == {"id": "1", "type": "complete"}

    async def test_null_members_and_extensions_are_taken(self, socket: GraphQLSocket) -> None:
        nothing = {"operationName": None, "variables": None, "extensions": None}
        assert await socket.ask("1", "{ __typename }", **nothing) == {"data": {"__typename": "Query"}}
        extended = {"persistedQuery": {"version": 1}}
        assert await socket.ask("2", "{ __typename }", extensions=extended) == {"data": {"__typename": "Query"}}

    async def test_the_named_operation_runs_with_its_variables(self, socket: GraphQLSocket, incident: str) -> None:
        query = "query A { __typename } query B($id: ID!) { incident(id: $id) { title } }"
        result = await socket.ask("1", query, operationName="B", variables={"id": incident})

        assert result == {"data": {"incident": {"title": "Checkout is failing"}}}

    async def test_an_id_comes_back_as_it_was(self, socket: GraphQLSocket) -> None:
        for id in ('"}quoted{"', "für später", "\\", "🜂" * 200, " "):
            assert await socket.ask(id, "{ __typename }") == {"data": {"__typename": "Query"}}

    async def test_an_id_is_free_again_when_its_operation_is_complete(self, socket: GraphQLSocket) -> None:
        for _ in range(3):
            await socket.ask("1", "{ __typename }")
        await socket.subscribe("1", "{ nonsense }")
        assert (await socket.hear())["type"] == "error"
        await socket.ask("1", "{ __typename }")

    async def test_every_operation_has_a_time_of_its_own(self, socket: GraphQLSocket, incident: str) -> None:
        async def seconds() -> float:
            variables = {"id": incident}
            result = await socket.ask(
                "1", "query($id: ID!) { incident(id: $id) { durationSeconds } }", variables=variables
            )
            open_for: float = result["data"]["incident"]["durationSeconds"]
            return open_for

        first = await seconds()

        async def is_later() -> bool:
            return await seconds() >= first + 0.1

        await until(is_later)

    async def test_every_operation_has_a_deadline_of_its_own(self, strict_server: ServerProcess, incident: str) -> None:
        async with connect(strict_server.url) as socket:  # Its operations may take 1 s.
            query = "query($id: ID!) { incident(id: $id) { durationSeconds } }"
            first = await socket.ask("1", query, variables={"id": incident})

            async def is_second_over() -> bool:
                result = await socket.ask("1", query, variables={"id": incident})
                before, after = (each["data"]["incident"]["durationSeconds"] for each in (first, result))
                return bool(after > before + 1.1)

            await until(is_second_over)

    async def test_what_happens_comes_in_order_with_what_came_before(
        self, socket: GraphQLSocket, http: httpx.AsyncClient, incident: str
    ) -> None:
        await socket.watch("1", incident)
        for number in range(5):
            await rename(http, incident, f"Title {number}")

        events = [(await socket.hear())["payload"]["data"]["incidentEvents"] for _ in range(5)]
        assert [event["type"] for event in events] == ["INCIDENT_UPDATED"] * 5
        assert [event["previousCursor"] for event in events[1:]] == [event["cursor"] for event in events[:-1]]

    async def test_several_operations_run_at_the_same_time(
        self, socket: GraphQLSocket, http: httpx.AsyncClient, incident: str
    ) -> None:
        await socket.watch("a", incident)
        await socket.watch("b", incident)
        await rename(http, incident, "Renamed")

        assert {(await socket.hear())["id"], (await socket.hear())["id"]} == {"a", "b"}
        await socket.ask("c", "{ __typename }")


class TestEndingOperations:
    async def test_the_id_of_a_running_operation_closes_the_socket(self, socket: GraphQLSocket, incident: str) -> None:
        await socket.watch("mine", incident)
        await socket.subscribe("mine", "{ __typename }")

        assert await socket.closed() == (4409, "Subscriber for mine already exists")

    async def test_an_id_that_does_not_fit_the_reason_is_cut(self, socket: GraphQLSocket, incident: str) -> None:
        await socket.watch("ü" * 200, incident)
        await socket.subscribe("ü" * 200, "{ __typename }")

        code, reason = await socket.closed()
        assert code == 4409
        assert reason.startswith("Subscriber for üüü")
        assert reason.endswith("ü already exists")

    async def test_complete_ends_a_subscription_and_no_other(
        self, socket: GraphQLSocket, http: httpx.AsyncClient, incident: str
    ) -> None:
        await socket.watch("ended", incident)
        await socket.watch("kept", incident)
        await socket.say({"id": "ended", "type": "complete"})
        for title in ("One", "Two", "Three"):
            await rename(http, incident, title)
            assert await socket.hear_title("kept") == title

    async def test_an_id_is_free_again_when_the_client_ends_its_operation(
        self, socket: GraphQLSocket, http: httpx.AsyncClient, incident: str
    ) -> None:
        await socket.watch("1", incident)
        await socket.say({"id": "1", "type": "complete"})
        await socket.watch("1", incident)
        await rename(http, incident, "Renamed")

        assert await socket.hear_title("1") == "Renamed"
        await socket.ask("2", "{ __typename }")

    async def test_complete_for_what_is_not_there_is_ignored(self, socket: GraphQLSocket) -> None:
        await socket.ask("1", "{ __typename }")
        await socket.say({"id": "1", "type": "complete"})
        await socket.say({"id": "never heard of", "type": "complete"})

        await socket.ask("1", "{ __typename }")

    async def test_a_query_that_is_completed_by_its_client_gets_no_result(
        self, socket: GraphQLSocket, served_database_url: str
    ) -> None:
        query = "{ detectionRules { totalCount } }"
        database = await asyncpg.connect(served_database_url)
        async with database.transaction():
            await database.execute("lock table detection_rules in access exclusive mode")
            await socket.subscribe("1", query)
            await socket.say({"id": "1", "type": "complete"})
            await socket.ask("2", "{ asOfCursor }")
        await database.close()

        await socket.ask("3", query)


class TestErrors:
    @pytest.mark.parametrize(
        ("payload", "code"),
        [
            ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
            ({"query": ""}, "GRAPHQL_PARSE_FAILED"),
            ({"query": "{ nonsense }"}, "GRAPHQL_VALIDATION_FAILED"),
            ({"query": "subscription { nonsense }"}, "GRAPHQL_VALIDATION_FAILED"),
            pytest.param({"query": "{a" * 1500 + "}" * 1500}, "LIMIT_EXCEEDED", id="nested deeply"),
            ({"query": "query A { __typename } query B { __typename }"}, "GRAPHQL_VALIDATION_FAILED"),
            ({"query": "query A { __typename }", "operationName": "B"}, "GRAPHQL_VALIDATION_FAILED"),
            ({"query": "query($id: ID!) { incident(id: $id) { id } }"}, "BAD_USER_INPUT"),
            ({"query": CHANGES}, "BAD_USER_INPUT"),
            ({"query": CHANGES, "variables": {"incident": 1.5}}, "BAD_USER_INPUT"),
            ({"query": CHANGES, "variables": {"incident": "INC-42"}}, "NOT_FOUND"),
            ({"query": CHANGES, "variables": {"incident": "0190a5c2-0000-7000-8000-000000000000"}}, "NOT_FOUND"),
            (
                {"query": 'subscription { events(filter: { services: ["nobody-has-me"] }) { type } }'},
                "NOT_FOUND",
            ),
            ({"query": 'subscription { events(after: "nonsense") { type } }'}, "INVALID_CURSOR"),
        ],
        ids=str,
    )
    async def test_what_is_wrong_with_one_operation_is_told_to_it_alone(
        self, socket: GraphQLSocket, http: httpx.AsyncClient, incident: str, payload: dict[str, Any], code: str
    ) -> None:
        await socket.watch("other", incident)
        await socket.say({"id": "1", "type": "subscribe", "payload": payload})

        error = await socket.hear()
        assert (error["id"], error["type"]) == ("1", "error")
        assert {entry["extensions"]["code"] for entry in error["payload"]} == {code}
        assert all(entry["message"] for entry in error["payload"])
        await rename(http, incident, "Renamed")
        assert await socket.hear_title("other") == "Renamed"

    async def test_a_field_that_fails_is_part_of_the_result(self, socket: GraphQLSocket) -> None:
        query = '{ incidents(first: 1, after: "nonsense") { totalCount } }'
        result = await socket.ask("1", query)

        assert result["errors"][0]["extensions"]["code"] == "INVALID_CURSOR"
        assert "data" in result
