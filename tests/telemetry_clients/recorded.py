"""Answers that real backends once gave, each given again only to the request that it was recorded for."""

import asyncio
import base64
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry_clients.local_server import Request, http_answer

CONTRACTS = Path(__file__).parents[3] / "shared" / "contracts"


@dataclass(frozen=True)
class Exchange:
    """What one backend was asked, and what it answered."""

    name: str
    request: dict[str, Any]
    response: dict[str, Any]

    @property
    def parameters(self) -> dict[str, str]:
        """What was asked, whether in the address or in a form."""
        return {**self.request["params"], **self.request["form"]}

    @property
    def json(self) -> Any:
        """The JSON of the answer."""
        return self.response["json"]

    @property
    def text(self) -> str:
        """The text of the answer."""
        return str(self.response["text"])

    def answer(self) -> bytes:
        """The whole HTTP answer."""
        response = self.response
        if "json" in response:
            body = json.dumps(response["json"], ensure_ascii=False).encode()
        elif "text" in response:
            body = response["text"].encode()
        else:
            body = base64.b64decode(response["body_base64"])
        content_type = response["headers"].get("Content-Type", "")
        return http_answer(body, status=response["status"], content_type=content_type)

    def fits(self, request: Request, ignoring: Collection[str] = (), *, any_method: bool = False) -> bool:
        """Whether this is the request, but for parameters that need not agree."""
        sent = {name: values for name, values in request.parameters.items() if name not in ignoring}
        asked = {name: [value] if isinstance(value, str) else value for name, value in self.parameters.items()}
        same_body = self.request["json"] is None or _parsed(request.body) == self.request["json"]
        same_method = any_method or request.method == self.request["method"]
        return same_method and request.path == self.request["path"] and sent == asked and same_body


@dataclass
class Recorded:
    """A behaviour for `local_server`: it has these exchanges, and refuses everything else, which it remembers.

    `ignoring` are parameters that the client adds to what was recorded, such as a timeout. With `any_method` a question
    recorded as a GET may come as a POST, where a backend takes both.
    """

    exchanges: list[Exchange] = field(default_factory=list)
    ignoring: Collection[str] = ()
    any_method: bool = False
    unknown: list[Request] = field(default_factory=list)

    def add(self, *exchanges: Exchange) -> None:
        """Let it know more."""
        self.exchanges += exchanges

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        for exchange in self.exchanges:
            if exchange.fits(request, self.ignoring, any_method=self.any_method):
                writer.write(exchange.answer())
                return
        self.unknown.append(request)
        writer.write(http_answer(b"This was not recorded", status=418, content_type="text/plain"))


def recording(backend: str, name: str) -> Exchange:
    """One recorded exchange, as in `recording("loki", "labels")`. Skips the test where there are no recordings."""
    file = CONTRACTS / backend / f"{name}.json"
    if not CONTRACTS.is_dir():
        pytest.skip(f"no recorded exchanges: {CONTRACTS} is missing")
    found = json.loads(file.read_text())
    return Exchange(name, found["request"], found["response"])


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
