"""GraphQL over WebSocket, held to every MUST of the protocol's text, on raw sockets."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import httpx
import pytest
import websockets
from websockets.typing import Subprotocol

from tests.http.graphql_socket import CHANGES, SUBPROTOCOL, GraphQLSocket, connect, open_incident, rename, socket_url
from tests.servers import ServerProcess
from tests.waiting import until

LARGEST_MESSAGE_BYTES = 65_536
LONGEST_REASON_BYTES = 123


@pytest.fixture
async def socket(server_url: str) -> AsyncIterator[GraphQLSocket]:
    """A socket that has begun."""
    async with connect(server_url) as opened:
        yield opened


@pytest.fixture
async def fresh_socket(server_url: str) -> AsyncIterator[GraphQLSocket]:
    """A socket on which nothing was said yet."""
    async with connect(server_url, init=False) as opened:
        yield opened


@pytest.fixture
async def incident(http: httpx.AsyncClient) -> str:
    """The id of an incident of the test's own."""
    return await open_incident(http)


class TestTheHandshake:
    async def test_the_subprotocol_is_agreed_on(self, fresh_socket: GraphQLSocket) -> None:
        assert fresh_socket.connection.subprotocol == SUBPROTOCOL

    async def test_it_is_chosen_among_others(self, server_url: str) -> None:
        async with connect(server_url, subprotocols=[Subprotocol("graphql-ws"), SUBPROTOCOL]) as socket:
            assert socket.connection.subprotocol == SUBPROTOCOL

    @pytest.mark.parametrize("offered", [["graphql-ws"], None], ids=["the legacy one", "none"])
    async def test_another_subprotocol_is_refused_by_naming_the_right_one(
        self, server_url: str, offered: list[Subprotocol] | None
    ) -> None:
        async with connect(server_url, init=False, subprotocols=offered) as socket:
            code, reason = await socket.closed()

        assert code == 4406
        assert "graphql-transport-ws" in reason

    async def test_no_compression_is_agreed_on(self, fresh_socket: GraphQLSocket) -> None:
        assert fresh_socket.connection.response is not None
        assert "Sec-WebSocket-Extensions" not in fresh_socket.connection.response.headers

    async def test_there_are_no_sockets_elsewhere(self, server_url: str) -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(socket_url(server_url) + "/elsewhere", subprotocols=[SUBPROTOCOL])

        assert refused.value.response.status_code == 404
        assert refused.value.response.body == b'{"error":"There is nothing at /graphql/elsewhere"}'

    async def test_the_page_of_a_stranger_may_not_connect(self, server_url: str) -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(
                socket_url(server_url), subprotocols=[SUBPROTOCOL], origin=websockets.Origin("https://evil.example")
            )

        assert refused.value.response.status_code == 403
        assert b"CORS_ALLOWED_ORIGINS" in refused.value.response.body

    async def test_our_own_page_and_those_that_are_allowed_may(
        self, server_url: str, strict_server: ServerProcess
    ) -> None:
        async with connect(server_url, origin=websockets.Origin(server_url)) as socket:
            assert await socket.ask("1", "{ __typename }") == {"data": {"__typename": "Query"}}
        async with connect(strict_server.url, origin=websockets.Origin("https://studio.example")) as socket:
            assert await socket.ask("1", "{ __typename }") == {"data": {"__typename": "Query"}}


class TestBeginning:
    @pytest.mark.parametrize("members", [{}, {"payload": None}, {"payload": {}}, {"payload": {"token": "x"}}], ids=str)
    async def test_connection_init_is_acknowledged(self, fresh_socket: GraphQLSocket, members: dict[str, Any]) -> None:
        await fresh_socket.say({"type": "connection_init", **members})

        assert await fresh_socket.hear() == {"type": "connection_ack"}

    async def test_a_second_connection_init_is_one_too_many(self, socket: GraphQLSocket) -> None:
        await socket.say({"type": "connection_init"})

        assert await socket.closed() == (4429, "Too many initialisation requests")

    async def test_who_does_not_begin_in_time_is_disconnected(self, impatient_server: ServerProcess) -> None:
        async with connect(impatient_server.url, init=False) as socket:
            assert await socket.closed() == (4408, "Connection initialisation timeout")

    async def test_nothing_is_executed_before_the_acknowledgement(self, fresh_socket: GraphQLSocket) -> None:
        await fresh_socket.subscribe("1", "{ __typename }")

        assert await fresh_socket.closed() == (4401, "Unauthorized")

    async def test_pings_are_answered_before_it(self, fresh_socket: GraphQLSocket) -> None:
        await fresh_socket.say({"type": "ping"})

        assert await fresh_socket.hear() == {"type": "pong"}


def subscribe(**members: Any) -> dict[str, Any]:
    return {"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}, **members}


class TestInvalidMessages:
    @pytest.mark.parametrize(
        "message",
        [
            "",
            "hello",
            "{",
            "null",
            "7",
            '"ping"',
            "[]",
            '[{"type":"ping"}]',
            "{}",
            '{"type":null}',
            '{"type":["ping"]}',
            '{"type":"PING"}',
            '{"type":"start"}',
            '{"type":"connection_ack"}',
            '{"type":"next","id":"1","payload":{}}',
            '{"type":"error","id":"1","payload":[]}',
            '{"type":"connection_init","payload":7}',
            '{"type":"connection_init","payload":[]}',
            '{"type":"ping","payload":"x"}',
            '{"type":"pong","payload":[]}',
            "[" * 2000 + "]" * 2000,
            '{"type":"ping","payload":' + '{"a":' * 500 + "1" + "}" * 501,
            b'{"type":"ping"}',
            b"\x00\xff",
            subscribe(id=""),
            subscribe(id=7),
            subscribe(id=None),
            subscribe(id=["1"]),
            subscribe(id="x" * 256),
            {"type": "subscribe", "payload": {"query": "{ __typename }"}},
            {"type": "complete"},
            {"type": "complete", "id": ""},
            {"type": "complete", "id": 1},
            subscribe(payload=None),
            subscribe(payload="{ __typename }"),
            subscribe(payload=[]),
            subscribe(payload={}),
            subscribe(payload={"query": None}),
            subscribe(payload={"query": 7}),
            subscribe(payload={"query": "{ __typename }", "operationName": 7}),
            subscribe(payload={"query": "{ __typename }", "variables": "{}"}),
            subscribe(payload={"query": "{ __typename }", "variables": []}),
            subscribe(payload={"query": "{ __typename }", "extensions": 7}),
        ],
        ids=lambda message: str(message)[:60],
    )
    async def test_what_the_protocol_does_not_have_closes_the_socket(self, socket: GraphQLSocket, message: Any) -> None:
        await socket.say(message)

        code, reason = await socket.closed()
        assert code == 4400
        assert 0 < len(reason.encode()) <= LONGEST_REASON_BYTES

    async def test_text_that_is_not_utf_8_closes_the_socket(self, socket: GraphQLSocket) -> None:
        await socket.connection.send(b'{"type":"\xff"}', text=True)

        assert (await socket.closed())[0] == 1007

    async def test_a_message_may_have_64_kilobytes_and_no_more(self, socket: GraphQLSocket) -> None:
        empty = len('{"type":"ping","payload":{"x":""}}')
        await socket.say('{"type":"ping","payload":{"x":"%s"}}' % ("x" * (LARGEST_MESSAGE_BYTES - empty)))
        assert (await socket.hear())["type"] == "pong"

        await socket.say('{"type":"ping","payload":{"x":"%s"}}' % ("x" * (LARGEST_MESSAGE_BYTES - empty + 1)))
        assert (await socket.closed())[0] == 1009

    async def test_a_message_may_come_in_fragments_some_of_them_empty(self, socket: GraphQLSocket) -> None:
        await socket.connection.send(['{"type":', "", "", '"ping"}'])

        assert await socket.hear() == {"type": "pong"}

    async def test_a_message_in_many_fragments_may_not_be_larger_either(self, socket: GraphQLSocket) -> None:
        with suppress(websockets.ConnectionClosed):  # The server need not wait for the end.
            await socket.connection.send(["x" * 1000] * 100)

        assert (await socket.closed())[0] == 1009

    async def test_a_message_of_a_megabyte_is_refused_the_same_way(self, socket: GraphQLSocket) -> None:
        with suppress(websockets.ConnectionClosed):
            await socket.connection.send("x" * 1_000_000)

        assert (await socket.closed())[0] == 1009


class TestPings:
    @pytest.mark.parametrize("members", [{}, {"payload": None}, {"payload": {"sent": [1, {"ü": 2}]}}], ids=str)
    async def test_a_pong_echoes_the_payload(self, socket: GraphQLSocket, members: dict[str, Any]) -> None:
        await socket.say({"type": "ping", **members})

        assert await socket.hear() == {"type": "pong", **members}

    async def test_a_pong_that_nobody_asked_for_is_welcome(self, socket: GraphQLSocket) -> None:
        await socket.say({"type": "pong", "payload": {"heartbeat": 1}})

        assert await socket.ask("1", "{ __typename }") == {"data": {"__typename": "Query"}}

    async def test_the_server_pings_and_disconnects_who_stays_silent(self, impatient_server: ServerProcess) -> None:
        async with connect(impatient_server.url) as socket:
            assert await socket.hear() == {"type": "ping"}
            assert await socket.hear() == {"type": "ping"}
            code, reason = await socket.closed(after_messages=True)

        assert code == 4408
        assert "0.6 s" in reason

    async def test_who_answers_pings_stays(self, impatient_server: ServerProcess) -> None:
        async with connect(impatient_server.url) as socket:
            for _ in range(8):  # More than twice as long as silence is borne.
                assert await socket.hear() == {"type": "ping"}
                await socket.say({"type": "pong"})
            assert await socket.ask("1", "{ __typename }") == {"data": {"__typename": "Query"}}


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


class TestLimits:
    async def test_one_address_has_a_limited_number_of_sockets(self, impatient_server: ServerProcess) -> None:
        async with (
            connect(impatient_server.url) as first,
            connect(impatient_server.url),
            connect(impatient_server.url),
        ):
            async with connect(impatient_server.url, init=False) as refused:
                code, reason = await refused.closed()
            assert code == 4429
            assert "MAX_STREAMS_PER_ADDRESS" in reason
            await first.connection.close()

            async def has_room() -> bool:
                async with connect(impatient_server.url, init=False) as another:
                    await another.say({"type": "ping"})
                    try:
                        return bool(await another.hear() == {"type": "pong"})
                    except websockets.ConnectionClosed:
                        return False

            await until(has_room)

    async def test_one_socket_has_a_limited_number_of_operations(
        self, impatient_server: ServerProcess, incident: str
    ) -> None:
        async with connect(impatient_server.url) as socket:
            for id in ("1", "2", "3"):
                await socket.subscribe(id, CHANGES, variables={"incident": incident})

            code, reason = await socket.closed()
        assert code == 4429
        assert "MAX_OPERATIONS_PER_SOCKET" in reason
