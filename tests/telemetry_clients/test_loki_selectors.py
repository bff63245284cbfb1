"""Which labels name a service in Loki."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.time import Deadline
from telemetry_clients.errors import TelemetryUnavailable
from telemetry_clients.loki import Loki
from telemetry_clients.loki.selectors import LokiSelectors, Streams
from telemetry_clients.services import Service
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.loki_server import LocalLoki, local_loki

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def server() -> AsyncIterator[LocalLoki]:
    async with local_loki() as server:
        server.label_values = {
            "app": ["checkout", "web"],
            "job": ["shop/checkout", "shop/payment", "eu/payment", "inventory", "other/inventory"],
            "pod": ["search"],
        }
        yield server


@pytest.fixture
async def loki(server) -> AsyncIterator[Loki]:
    async with Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        yield Loki(transport)


async def streams(selectors: LokiSelectors, *names: str, at: datetime = NOON) -> dict[str, Streams]:
    services = [Service(name) for name in names]
    found = await selectors.streams(services, at=at, deadline=Deadline.after(10))
    return {service.name: streams for service, streams in found.items()}


async def test_the_first_usual_label_that_has_the_name_is_taken_and_service_name_where_none_has(loki):
    found = await streams(LokiSelectors(loki), "checkout", "payment", "inventory", "search")
    assert found == {
        "checkout": Streams((("app", ("checkout",)),)),
        "payment": Streams((("job", ("eu/payment", "shop/payment")),)),
        "inventory": Streams((("job", ("inventory",)),)),
        "search": Streams((("service_name", ("search",)),)),
    }


async def test_declared_labels_need_no_question(loki, server):
    service = Service("checkout", (("namespace", "shop"), ("app", "co")))
    found = await LokiSelectors(loki).streams([service], at=NOON, deadline=Deadline.after(10))
    assert found == {service: Streams((("app", ("co",)), ("namespace", ("shop",))))}
    assert server.asked == []


async def test_loki_is_asked_once_for_everybody_and_again_when_it_is_long_ago(loki, server):
    now = 0.0
    selectors = LokiSelectors(loki, clock=lambda: now)
    await asyncio.gather(*(streams(selectors, "checkout") for _ in range(20)))
    await streams(selectors, "payment")
    assert [path.rpartition("/v1/")[2] for path, _ in server.asked] == [
        "labels",
        "label/app/values",
        "label/job/values",
    ]
    now = 599.0
    await streams(selectors, "checkout")
    assert len(server.asked) == 3
    server.label_values["service_name"] = ["checkout"]
    now = 601.0
    found = await streams(selectors, "checkout")
    assert found["checkout"] == Streams((("service_name", ("checkout",)),))


async def test_a_service_that_was_not_there_is_looked_for_again_soon(loki, server):
    now = 0.0
    selectors = LokiSelectors(loki, clock=lambda: now)
    await streams(selectors, "new")
    server.label_values["app"].append("new")
    now = 59.0
    assert (await streams(selectors, "new"))["new"] == Streams((("service_name", ("new",)),))
    now = 61.0
    assert (await streams(selectors, "new"))["new"] == Streams((("app", ("new",)),))


async def test_times_long_ago_have_labels_of_their_own_and_only_some_are_remembered(loki, server):
    selectors = LokiSelectors(loki, most_times=2)
    for days in (0, 1, 2, 1, 0):
        await streams(selectors, "checkout", at=NOON - timedelta(days=days))
    starts = [asked["end"] for asked in server.asked_for("/labels")]
    assert len(starts) == 4, "the first was forgotten, the second was not"


async def test_who_waits_for_a_question_that_fails_asks_itself(loki, server):
    server.refusal = (500, "starting")
    selectors = LokiSelectors(loki)
    failed = await asyncio.gather(*(streams(selectors, "checkout") for _ in range(2)), return_exceptions=True)
    assert all(isinstance(error, TelemetryUnavailable) for error in failed)
    server.refusal = None
    assert (await streams(selectors, "checkout"))["checkout"] == Streams((("app", ("checkout",)),))
