"""Exchanges recorded from real backends, and a server that gives the recorded answers."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server

RECORDINGS = Path(__file__).parents[3] / "shared" / "contracts"


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent, and the answer to it."""

    method: str
    path: str
    parameters: dict[str, list[str]]
    status: int
    content_type: str
    body: bytes

    @property
    def answer(self) -> bytes:
        """The answer as it goes over the wire."""
        return http_answer(self.body, status=self.status, content_type=self.content_type)


def exchange(backend: str, name: str) -> Exchange:
    """A recorded exchange; skips the test where the recordings are missing."""
    folder = RECORDINGS / backend
    if not folder.is_dir():
        pytest.skip(f"no recorded exchanges: {folder} is missing")
    recorded = json.loads((folder / f"{name}.json").read_text())
    request, response = recorded["request"], recorded["response"]
    sent = request["params"] | request["form"]
    parameters = {key: value if isinstance(value, list) else [value] for key, value in sent.items()}
    content_type = response["headers"].get("Content-Type", "")
    return Exchange(request["method"], request["path"], parameters, response["status"], content_type, _body(response))


def _body(response: dict[str, Any]) -> bytes:
    if "json" in response:
        return json.dumps(response["json"]).encode()
    if "body_base64" in response:
        return base64.b64decode(response["body_base64"])
    return str(response["text"]).encode()


@dataclass
class Replay:
    """A server that gives recorded answers to one client."""

    backend: str
    server: LocalServer
    transport: Transport

    def answer_with(self, name: str) -> Exchange:
        """Answer everything with one recording from now on."""
        recorded = exchange(self.backend, name)
        self.server.behaviour = answering(recorded.answer)
        return recorded

    def assert_asked_as(self, recorded: Exchange, *, without: tuple[str, ...] = ()) -> None:
        """The client sent, once, what was recorded."""
        [asked] = self.server.requests
        sent = {name: values for name, values in asked.parameters.items() if name not in without}
        assert (asked.method, asked.path, sent) == (recorded.method, recorded.path, recorded.parameters)


@contextlib.asynccontextmanager
async def replaying(backend: str) -> AsyncIterator[Replay]:
    """A server with the answers of one backend ("tempo"), and a transport to it."""
    async with (
        local_server(answering(b"")) as server,
        Transport(Endpoint(backend=backend.capitalize(), url=server.url)) as transport,
    ):
        yield Replay(backend, server, transport)
