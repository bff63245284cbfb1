"""Clients that ask and change things all the time, repeat nothing, and remember every answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

PAUSE_SECONDS = 0.1

QUERY = "{ incidents(first: 5) { nodes { id title services { name } } } }"
CREATE = """mutation Create($title: String!) {
  createIncident(input: {title: $title, severity: LOW, services: ["checkout"]}) {
    incident { id } errors { __typename } } }"""


@dataclass(frozen=True)
class Told:
    """What became of a request: `code` is None where it went well; `id` is of what it made."""

    kind: str
    asked_at: float
    told_at: float
    code: str | None
    id: str | None = None


@dataclass
class Load:
    """The requests so far."""

    told: list[Told] = field(default_factory=list)

    @property
    def failed(self) -> list[Told]:
        """Those that did not go well."""
        return [each for each in self.told if each.code is not None]

    @property
    def acknowledged(self) -> set[str]:
        """The ids of what was made, and said to be."""
        return {each.id for each in self.told if each.id is not None}

    def since(self, moment: float) -> Sequence[Told]:
        """Those that were asked since a moment of the event loop's clock."""
        return [each for each in self.told if each.asked_at >= moment]


@asynccontextmanager
async def under_load(url: Callable[[], str], *, readers: int = 4, writers: int = 3) -> AsyncIterator[Load]:
    """Requests all the time. Each comes over a connection of its own, as after a proxy that keeps none."""
    load = Load()
    numbers = count(1)
    is_over = False

    async def run(kind: str) -> None:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as client:
            while not is_over:
                load.told.append(await _ask(client, url(), kind, next(numbers)))
                await asyncio.sleep(PAUSE_SECONDS)

    tasks = [asyncio.create_task(run(kind)) for kind in ["read"] * readers + ["write"] * writers]
    try:
        yield load
    finally:
        is_over = True  # Whatever was asked is answered.
        await asyncio.gather(*tasks)


async def _ask(client: httpx.AsyncClient, url: str, kind: str, number: int) -> Told:
    body: dict[str, Any] = {"query": QUERY}
    if kind == "write":
        body = {"query": CREATE, "variables": {"title": f"Incident {number}"}}
    asked_at = asyncio.get_running_loop().time()
    code = id_ = None
    try:
        answer = await client.post(f"{url}/graphql", json=body)
        code, id_ = _judged(answer, kind)
    except httpx.TransportError as error:
        code = type(error).__name__
    return Told(kind, asked_at, asyncio.get_running_loop().time(), code, id_)


def _judged(answer: httpx.Response, kind: str) -> tuple[str | None, str | None]:
    """What went wrong, and what was made."""
    if answer.status_code != 200:
        return f"HTTP {answer.status_code}", None
    told = answer.json()
    if "errors" in told:
        return str(told["errors"][0]["extensions"]["code"]), None
    if kind == "read":
        return None, None
    payload = told["data"]["createIncident"]
    if payload["incident"] is None:
        return str(payload["errors"]), None
    return None, payload["incident"]["id"]
