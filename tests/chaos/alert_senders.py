"""Senders of alerts that remember what they were promised."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.fleet import Slot

SERVICES = [f"service-{number}" for number in range(20)]
REFUSED = {503, 504}
RETRY_SECONDS = 0.05


@dataclass(slots=True)
class Promises:
    """What servers said that they had stored: the alerts, by their labels, of each receipt."""

    alerts: set[tuple[str, str]] = field(default_factory=set)
    receipts: dict[str, int] = field(default_factory=dict)
    resolved: set[tuple[str, str]] = field(default_factory=set)


class Sender:
    """Posts batches of alerts to whichever server answers, again until one says that it has them, as Alertmanager."""

    def __init__(self, slots: Sequence[Slot], promises: Promises, chance: random.Random) -> None:
        self._slots = slots
        self._promises = promises
        self._chance = chance

    async def send(self, numbers: Sequence[int]) -> None:
        """Let these alerts fire, in batches, every third of them ends at once."""
        async with httpx.AsyncClient(timeout=20) as client:
            for start in range(0, len(numbers), 20):
                batch = [self._alert(number) for number in numbers[start : start + 20]]
                await self._deliver(client, batch, is_resolved=False)
                await self._deliver(client, batch[::3], is_resolved=True)

    def _alert(self, number: int) -> dict[str, Any]:
        labels = {"alertname": f"Alert {number}", "service": self._chance.choice(SERVICES)}
        return {"labels": labels, "startsAt": "2026-03-01T12:00:00Z"}

    async def _deliver(self, client: httpx.AsyncClient, alerts: Sequence[dict[str, Any]], *, is_resolved: bool) -> None:
        ends = {"status": "resolved", "endsAt": "2026-03-01T12:30:00Z"} if is_resolved else {"status": "firing"}
        body = {"alerts": [{**alert, **ends} for alert in alerts]}
        while True:
            url = self._chance.choice(self._slots).url
            try:
                answer = await client.post(f"{url}/api/webhooks/alertmanager", json=body)
            except httpx.TransportError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer.status_code == 200:
                break
            assert answer.status_code in REFUSED, answer.text
            await asyncio.sleep(RETRY_SECONDS)
        told = {(alert["labels"]["alertname"], alert["labels"]["service"]) for alert in alerts}
        self._promises.alerts |= told
        self._promises.receipts[answer.json()["receipt"]] = len(alerts)
        if is_resolved:
            self._promises.resolved |= told
