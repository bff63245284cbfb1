"""Clients that change things, and remember what they were told: done, or nothing."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import httpx

from actions.timeline import add_note
from db.database import Database, Transaction
from domain.access import Actor, Role
from domain.errors import Conflict, DatabaseUnavailable, DeadlineExceeded
from tests.chaos.fleet import Fleet

SERVICES = ("checkout", "payments", "search", "catalog")
SEVERITIES = ("low", "medium", "high", "critical")
MEAN_PAUSE_SECONDS = 0.12
LONGEST_HELD_SECONDS = 0.03
RETRY_SECONDS = 0.1

Kind = Literal["created", "title", "note"]


def dice(seed: float) -> random.Random:
    """Chance that can be repeated."""
    return random.Random(seed)  # noqa: S311 # to be repeated with the same seed


class Abandoned(Exception):
    """A transaction that changes its mind at the last moment."""


@dataclass
class Ledger:
    """What the writers know of their changes. A change is known by the title that it gave, or the id that it got."""

    acknowledged: set[tuple[Kind, str]] = field(default_factory=set)
    rolled_back: set[str] = field(default_factory=set)
    attempts: Counter[str] = field(default_factory=Counter)


class Writer:
    """Changes one thing after the other, and repeats what was not answered until it is."""

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        database: Database,
        incidents: Sequence[str],
        ledger: Ledger,
        chance: random.Random,
    ) -> None:
        self._name = name
        self._fleet = fleet
        self._database = database
        self._incidents = incidents
        self._ledger = ledger
        self._chance = chance
        self._actor = Actor(id=None, name=name, role=Role.RESPONDER)
        self._changes = 0
        self._is_stopping = False

    def stop(self) -> None:
        """Begin nothing new."""
        self._is_stopping = True

    async def run(self) -> None:
        """Write until told to stop, and until everything that was begun is answered."""
        async with httpx.AsyncClient(timeout=10) as client:
            while not self._is_stopping:
                self._changes += 1
                mark = f"{self._name}, change {self._changes}"
                kind = self._chance.choices(("create", "retitle", "note", "hold"), (1, 4, 3, 4))[0]
                match kind:
                    case "create":
                        await self._create(client, mark)
                    case "retitle":
                        await self._retitle(client, mark)
                    case "note":
                        await self._note(client, mark)
                    case _:
                        await self._hold(mark)
                self._ledger.attempts[kind] += 1
                await asyncio.sleep(self._chance.expovariate(1 / MEAN_PAUSE_SECONDS))

    async def _create(self, client: httpx.AsyncClient, mark: str) -> None:
        body = {
            "title": mark,
            "severity": self._chance.choice(SEVERITIES),
            "services": self._chance.sample(SERVICES, self._chance.randint(1, 2)),
        }
        answer = await self._ask(client, "/api/incidents", body, key=mark)
        self._ledger.acknowledged.add(("created", answer["id"]))

    async def _retitle(self, client: httpx.AsyncClient, mark: str) -> None:
        path = f"/api/incidents/{self._chance.choice(self._incidents)}"
        for attempt in count(1):
            # Somebody else may have given another title since an attempt that was not answered.
            title = f"{mark}, attempt {attempt}"
            if await self._try(client, "PATCH", path, {"title": title}) is not None:
                self._ledger.acknowledged.add(("title", title))
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _note(self, client: httpx.AsyncClient, mark: str) -> None:
        path = f"/api/incidents/{self._chance.choice(self._incidents)}/timeline"
        answer = await self._ask(client, path, {"text": mark}, key=mark)
        self._ledger.acknowledged.add(("note", answer["id"]))

    async def _hold(self, mark: str) -> None:
        """A transaction of our own, open for a while, which may not come to its end."""
        incident, is_abandoned = UUID(self._chance.choice(self._incidents)), self._chance.random() < 0.2

        async def work(tx: Transaction) -> list[UUID]:
            ids = []
            for part in (1, 2):
                text = f"{mark}, part {part}"
                ids.append(await add_note(tx, incident, text, actor=self._actor))
                await asyncio.sleep(self._chance.uniform(0, LONGEST_HELD_SECONDS / 2))
            if is_abandoned:
                self._ledger.rolled_back.update(str(id) for id in ids)
                raise Abandoned
            return ids

        try:
            ids = await self._database.transact(work, now=datetime.now(UTC))
        except (Abandoned, Conflict, DatabaseUnavailable, DeadlineExceeded):
            return
        self._ledger.acknowledged.update(("note", str(id)) for id in ids)

    async def _ask(self, client: httpx.AsyncClient, path: str, body: dict[str, Any], *, key: str) -> dict[str, Any]:
        """The answer to something that happens once, however often it is asked with its key."""
        headers = {"Idempotency-Key": key}
        while True:
            if (answer := await self._try(client, "POST", path, body, headers)) is not None:
                return answer
            await asyncio.sleep(RETRY_SECONDS)

    async def _try(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        body: dict[str, Any],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Any] | None:
        """The answer of whichever server is asked, or None where nobody knows whether it was done."""
        url = self._chance.choice(self._fleet.slots).url
        try:
            answer = await client.request(method, url + path, json=body, headers=headers)
        except httpx.TransportError:
            return None
        if answer.status_code in (200, 201):
            told: dict[str, Any] = answer.json()
            return told
        # The database is away, or somebody else was in the way: to be asked again.
        assert answer.status_code in (409, 503, 504), (method, path, answer.status_code, answer.text)
        return None
