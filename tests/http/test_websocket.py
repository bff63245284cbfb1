"""GraphQL over WebSocket, held to every MUST of the protocol's text, on raw sockets."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import websockets
from websockets.typing import Subprotocol

from tests.http.graphql_socket import CHANGES, SUBPROTOCOL, GraphQLSocket, connect, open_incident, socket_url
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
