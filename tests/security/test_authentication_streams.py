"""Sockets and event streams: who connects, and until when."""

import time
from typing import Any

import httpx
import pytest

from app.accounts import add_token, revoke_token
from app.settings import Settings
from domain.access import TokenScope
from tests.http.graphql_socket import CHANGES, GraphQLSocket, connect, open_incident, rename
from tests.security.signing import ADA, bearer, token
from tests.servers import ServerProcess
from tests.waiting import until

FORBIDDEN = 4403
UNAUTHORIZED = 4401


async def begin(socket: GraphQLSocket, payload: Any) -> None:
    await socket.say({"type": "connection_init", "payload": payload})
    assert await socket.hear() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    "payload", [None, {}, {"authorization": "Bearer nonsense"}, {"authorization": 7}, {"token": "x"}, {"headers": []}]
)
async def test_a_socket_without_a_proof_is_sent_away(closed_server: ServerProcess, payload: Any):
    async with connect(closed_server.url, init=False) as socket:
        await socket.say({"type": "connection_init", **({} if payload is None else {"payload": payload})})
        code, reason = await socket.closed()
        assert code == FORBIDDEN
        assert reason


async def test_nothing_can_be_asked_before_the_proof(closed_server: ServerProcess):
    async with connect(closed_server.url, init=False) as socket:
        await socket.subscribe("1", "{ __typename }")
        assert await socket.closed() == (UNAUTHORIZED, "Unauthorized")


@pytest.mark.parametrize(
    "payload",
    [
        {"authorization": f"Bearer {token()}"},
        {"Authorization": f"bearer {token()}"},
        {"headers": {"Authorization": f"Bearer {token()}"}},
    ],
)
async def test_the_payload_of_connection_init_is_the_proof(closed_server: ServerProcess, payload: Any):
    async with connect(closed_server.url, init=False) as socket:
        await begin(socket, payload)
        answer = await socket.ask("1", "{ viewer { name } }")
        assert answer == {"data": {"viewer": {"name": "Ada"}}}


async def test_a_header_of_the_handshake_is_the_proof_too(closed_server: ServerProcess):
    async with connect(closed_server.url, additional_headers=bearer(token(sub="grace", name="Grace"))) as socket:
        assert (await socket.ask("1", "{ viewer { name } }"))["data"]["viewer"]["name"] == "Grace"


async def test_pages_of_other_origins_may_not_connect_even_with_a_proof(closed_server: ServerProcess):
    with pytest.raises(Exception, match="403"):
        async with connect(closed_server.url, origin="https://evil.example", additional_headers=bearer(token())):
            pass


async def test_a_socket_is_closed_when_its_proof_expires_and_its_client_resumes(closed_server: ServerProcess):
    async with httpx.AsyncClient(base_url=closed_server.url, headers=bearer(token()), timeout=30) as http:
        incident = await open_incident(http)
        short = token(exp=int(time.time()) + 6)
        async with connect(closed_server.url, init=False) as socket:
            await begin(socket, {"authorization": f"Bearer {short}"})
            await socket.watch("1", incident)
            await rename(http, incident, "Before")
            event = (await socket.hear())["payload"]["data"]["incidentEvents"]
            code, reason = await socket.closed(after_messages=True)
            assert code == FORBIDDEN
            assert reason is not None
            assert "resume" in reason
        await rename(http, incident, "Meanwhile")
        async with connect(closed_server.url, init=False) as socket:
            await begin(socket, {"authorization": f"Bearer {token()}"})
            await socket.subscribe("1", CHANGES, variables={"incident": incident, "after": event["cursor"]})
            assert await socket.hear_title("1") == "Meanwhile"


async def test_an_event_stream_ends_when_its_proof_expires(closed: httpx.AsyncClient):
    short = token(exp=int(time.time()) + 5)
    headers = {"accept": "text/event-stream", **bearer(short)}
    query = {"query": "subscription { events { cursor } }"}
    async with closed.stream("POST", "/graphql", json=query, headers=headers) as stream:
        assert stream.status_code == 200
        text = "".join([part async for part in stream.aiter_text()])
    assert "event: complete" not in text


async def test_a_token_that_is_revoked_ends_what_it_subscribed_to(
    closed_server: ServerProcess, closed_database_url: str
):
    settings = Settings(database_url=closed_database_url)
    id, secret = await add_token(settings, ADA, "listener", [TokenScope.READ], None)
    async with (
        httpx.AsyncClient(base_url=closed_server.url, headers=bearer(token()), timeout=30) as http,
        connect(closed_server.url, additional_headers=bearer(secret)) as socket,
    ):
        incident = await open_incident(http)
        await socket.watch("1", incident)
        await rename(http, incident, "Before")
        assert await socket.hear_title("1") == "Before"
        await revoke_token(settings, id)

        async def is_told_no_more() -> bool:
            await rename(http, incident, f"After {time.monotonic()}")
            message = await socket.hear()
            return bool(message["type"] == "error" and "UNAUTHENTICATED" in str(message["payload"]))

        await until(is_told_no_more)
        await socket.subscribe("2", "{ viewer { name } }")
        assert (await socket.hear())["type"] == "error"
