"""Lines followed live through a real server, which follows a local Loki."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest

from db.embedded import EmbeddedPostgres
from tests.http.event_stream import EventStream, listen
from tests.http.graphql_socket import GraphQLSocket, connect
from tests.postgres import TEMPLATE, run_sql
from tests.servers import ServerProcess
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.waiting import until

TAIL = 'subscription { logTail(service: "checkout") { line level traceId } }'
ERRORS = 'subscription { logTail(service: "Checkout", search: "pay", level: [ERROR]) { line } }'
TRACE = "a748dbcfac619e630dde29a6baa4b71a"


@pytest.fixture(scope="module")
async def loki() -> AsyncIterator[LocalLoki]:
    async with local_loki() as loki:
        loki.label_values = {"app": ["checkout"]}
        yield loki


@pytest.fixture(scope="module")
async def server(postgres: EmbeddedPostgres, loki: LocalLoki) -> AsyncIterator[ServerProcess]:
    """A server without incidents, in a database of its own: analyses would ask Loki as well."""
    await run_sql(postgres.url, f"create database log_tail template {TEMPLATE} strategy file_copy")
    async with ServerProcess(DATABASE_URL=postgres.url_of("log_tail"), LOKI_URL=loki.url) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            declaration = 'mutation { createService(input: { name: "checkout" }) { errors { message } } }'
            answer = (await client.post("/graphql", json={"query": declaration})).json()
            assert answer == {"data": {"createService": {"errors": []}}}
        yield server


@pytest.fixture(autouse=True)
async def fresh(loki: LocalLoki) -> AsyncIterator[None]:
    yield
    await until(lambda: not loki.tails)
    loki.asked.clear()
    loki.refusal = None


async def write(loki: LocalLoki, line: str, dropped: int = 0) -> None:
    await loki.write(time.time_ns(), {"app": "checkout"}, line, dropped=dropped)


async def hear(socket: GraphQLSocket, id: str) -> dict[str, object]:
    message = await socket.hear()
    assert (message.get("id"), message["type"]) == (id, "next"), message
    payload: dict[str, object] = message["payload"]
    return payload


async def tell(stream: EventStream) -> object:
    told = await stream.hear_event()
    assert (told.event, told.id) == ("next", None)
    return told.data


async def test_lines_come_as_they_are_written_and_say_what_was_left_out(server, loki):
    async with connect(server.url) as socket:
        await socket.subscribe("1", TAIL)
        await until(lambda: len(loki.tails) == 1)
        await write(loki, f"level=warn slow trace_id={TRACE}")
        entry = {"line": f"level=warn slow trace_id={TRACE}", "level": "WARN", "traceId": TRACE}
        assert await hear(socket, "1") == {"data": {"logTail": entry}}
        await write(loki, "too many", dropped=7)
        entry = {"line": "too many", "level": "UNKNOWN", "traceId": None}
        assert await hear(socket, "1") == {"data": {"logTail": entry}, "extensions": {"missed": 7}}
        await socket.say({"id": "1", "type": "complete"})
        await until(lambda: not loki.tails)


async def test_those_who_follow_the_same_share_a_tail_and_others_have_their_own(server, loki):
    async with connect(server.url) as one, connect(server.url) as two:
        await one.subscribe("1", ERRORS)
        await two.subscribe("2", ERRORS)
        await until(lambda: len(loki.tails) == 1 and len(loki.asked_for("/query_range")) == 1)
        await one.subscribe("3", TAIL)
        await until(lambda: len(loki.tails) == 2)
        await write(loki, "level=error pay failed")
        for line in ("level=info pay worked", "level=error search failed", "level=error pay failed again"):
            await write(loki, line)
        heard = [await one.hear() for _ in range(6)]
        lines = [each["payload"]["data"]["logTail"]["line"] for each in heard if each["id"] == "1"]
        assert lines == ["level=error pay failed", "level=error pay failed again"]
        assert len([each for each in heard if each["id"] == "3"]) == 4
        for line in lines:
            assert await hear(two, "2") == {"data": {"logTail": {"line": line}}}


async def test_event_streams_have_no_ids_because_there_is_nothing_to_resume(server, loki):
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http, listen(http, TAIL) as stream:
        await until(lambda: len(loki.tails) == 1)
        await write(loki, "one")
        assert await tell(stream) == {"data": {"logTail": {"line": "one", "level": "UNKNOWN", "traceId": None}}}


async def test_a_restart_of_loki_is_not_noticed(server, loki):
    async with connect(server.url) as socket:
        await socket.subscribe("1", ERRORS)
        await until(lambda: len(loki.tails) == 1)
        await loki.hang_up()
        await write(loki, "level=error pay failed meanwhile")
        assert await hear(socket, "1") == {"data": {"logTail": {"line": "level=error pay failed meanwhile"}}}


@pytest.mark.parametrize(
    ("query", "refusal", "code", "words"),
    [
        ('subscription { logTail(service: "nobody") { line } }', None, "NOT_FOUND", "nobody"),
        ('subscription { logTail(service: "\\u0000") { line } }', None, "BAD_USER_INPUT", "NUL"),
        (TAIL, (400, "parse error at line 1, col 5: no"), "TELEMETRY_BAD_QUERY", "line 1, col 5"),
        (TAIL, (401, "no org id"), "TELEMETRY_NOT_CONFIGURED", "no org id"),
    ],
)
async def test_what_cannot_be_followed_is_an_error_and_the_socket_lives(server, loki, query, refusal, code, words):
    loki.refusal = refusal
    async with connect(server.url) as socket:
        await socket.subscribe("1", query)
        message = await socket.hear()
        assert message["type"] == "error"
        [error] = message["payload"]
        assert error["extensions"]["code"] == code
        assert words in error["message"]
        assert (await socket.ask("2", "{ __typename }"))["data"] == {"__typename": "Query"}


async def test_loki_is_healthy_with_its_version(server):
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        components = (await http.get("/api/health")).json()["components"]
    assert (components["loki"]["status"], components["loki"]["version"]) == ("healthy", "3.5.0")
