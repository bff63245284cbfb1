"""The demo shop: opened, broken, and seen to be."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.demo_shop.control import control, guide
from deploy.demo_shop.faults import LESSONS, Fault
from deploy.demo_shop.listening import Listener
from deploy.demo_shop.service import MEMORY_LIMIT_BYTES
from deploy.demo_shop.services import BAD_VERSION, SERVICES
from deploy.demo_shop.shop import Options, Shop, running_shop
from tests.servers import ServerProcess
from tests.waiting import until

REQUESTS = "http_server_request_duration_seconds"


class Sink:
    """A backend that takes whatever is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, object]] = []

    def application(self) -> Starlette:
        async def take(request: Request) -> Response:
            self.bodies.append((request.url.path, json.loads(await request.body())))
            return Response(status_code=204)

        return Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])


@asynccontextmanager
async def sink() -> AsyncIterator[tuple[Sink, str]]:
    taking = Sink()
    listener = Listener(taking.application(), "127.0.0.1", 0)
    await listener.start()
    try:
        yield taking, f"http://127.0.0.1:{listener.port}"
    finally:
        await listener.stop()


def quiet(**options: object) -> Options:
    return Options(**{"port": 0, "is_quiet": True, "requests_per_second": 0, "seed": 7, **options})  # type: ignore[arg-type] # options of several types


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop(quiet()) as opened:
        yield opened


async def sampled(web: httpx.AsyncClient, shop: Shop, service: str, name: str, **labels: str) -> float:
    """The sum of the samples with this name and at least these labels."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = (await web.get(shop.addresses[service] + "/metrics", headers=accept)).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def order(web: httpx.AsyncClient, shop: Shop, times: int = 1) -> list[int]:
    answers = [web.post(shop.addresses["storefront"] + "/orders") for _ in range(times)]
    return [answer.status_code for answer in await asyncio.gather(*answers)]


async def test_an_order_goes_through_all_services_and_is_counted_in_each(shop: Shop, web: httpx.AsyncClient):
    assert await order(web, shop) == [201]

    for service in ("storefront", "checkout", "payments", "inventory", "shipping"):
        assert await sampled(web, shop, service, f"{REQUESTS}_count", http_response_status_code="201") == 1
    assert await sampled(web, shop, "inventory", "db_client_operation_duration_seconds_count") == 1
    assert await sampled(web, shop, "checkout", "http_client_request_duration_seconds_count") == 3


async def test_latencies_carry_the_traces_that_they_come_from(shop: Shop, web: httpx.AsyncClient):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    await web.get(shop.addresses["storefront"], headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})

    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = (await web.get(shop.addresses["catalog"] + "/metrics", headers=accept)).text

    assert f'trace_id="{trace_id}"' in text


async def test_a_slow_database_shows_in_its_statements_and_above(shop: Shop, web: httpx.AsyncClient):
    await shop.break_it(Fault.SLOW_DATABASE, None)

    await web.get(shop.addresses["storefront"])

    assert await sampled(web, shop, "catalog", "db_client_operation_duration_seconds_sum") > 0.2
    assert await sampled(web, shop, "storefront", f"{REQUESTS}_sum") > 0.2


async def test_a_burst_of_errors_begins_in_payments_and_is_passed_on(shop: Shop, web: httpx.AsyncClient):
    await shop.break_it(Fault.ERROR_BURST, None)

    assert 502 in await order(web, shop, 12)

    failed = await sampled(web, shop, "payments", f"{REQUESTS}_count", http_response_status_code="503")
    assert failed > 0
    assert await sampled(web, shop, "checkout", f"{REQUESTS}_count", http_response_status_code="502") == failed


async def test_a_dead_dependency_refuses_connections_until_it_is_healed(shop: Shop, web: httpx.AsyncClient):
    await shop.break_it(Fault.DEAD_DEPENDENCY, None)
    with pytest.raises(httpx.ConnectError):
        await web.get(shop.addresses["shipping"] + "/metrics")
    assert await order(web, shop) == [502]

    await shop.heal(Fault.DEAD_DEPENDENCY)
    assert await order(web, shop) == [201]


async def test_a_memory_leak_ends_in_a_restart(shop: Shop, web: httpx.AsyncClient):
    await shop.break_it(Fault.MEMORY_LEAK, None)
    url = shop.addresses["inventory"] + "/reservations"
    await web.post(url)
    first = await sampled(web, shop, "inventory", "container_memory_working_set_bytes")
    await asyncio.gather(*(web.post(url) for _ in range(50)))
    grown = await sampled(web, shop, "inventory", "container_memory_working_set_bytes")

    answers = await asyncio.gather(*(web.post(url) for _ in range(80)))

    assert first < grown <= MEMORY_LIMIT_BYTES
    assert 503 in [answer.status_code for answer in answers]
    assert await sampled(web, shop, "inventory", "container_memory_working_set_bytes") < first


async def test_a_fault_heals_by_itself_after_its_time(shop: Shop, web: httpx.AsyncClient):
    await shop.break_it(Fault.DEAD_DEPENDENCY, 0.1)

    async def lives() -> bool:
        return await order(web, shop) == [201]

    await until(lives)


async def test_traces_and_logs_are_sent_where_they_are_wanted(web: httpx.AsyncClient):
    async with sink() as (taken, url), running_shop(quiet(loki_url=url, traces_url=f"{url}/v1/traces")) as shop:
        await order(web, shop)
        await until(lambda: {path for path, _ in taken.bodies} == {"/v1/traces", "/loki/api/v1/push"})

    spans = [
        (scope["attributes"][0]["value"]["stringValue"], span)
        for path, body in taken.bodies
        if path == "/v1/traces"
        for resource in body["resourceSpans"]  # type: ignore[index] # JSON
        for scope in [resource["resource"]]
        for span in resource["scopeSpans"][0]["spans"]
    ]
    assert {service for service, _ in spans} == {"storefront", "checkout", "payments", "inventory", "shipping"}
    assert len({span["traceId"] for _, span in spans}) == 1
    ids = {span["spanId"] for _, span in spans}
    assert [span["name"] for _, span in spans if span.get("parentSpanId") not in ids] == ["POST /orders"]
    lines = [
        (stream["stream"]["service_name"], json.loads(line), metadata)
        for path, body in taken.bodies
        if path != "/v1/traces"
        for stream in body["streams"]  # type: ignore[index] # JSON
        for _, line, metadata in stream["values"]
    ]
    trace_id = spans[0][1]["traceId"]
    assert any(service == "checkout" and metadata == {"trace_id": trace_id} for service, _, metadata in lines)


async def test_where_nobody_takes_telemetry_the_shop_stays_open(web: httpx.AsyncClient):
    async with running_shop(quiet(loki_url="http://127.0.0.1:9", traces_url="http://127.0.0.1:9")) as shop:
        assert await order(web, shop) == [201]
        await until(lambda: shop.status()["telemetry_dropped"] > 0)


async def test_a_bad_deployment_is_in_the_catalog_and_is_rolled_back(database_url: str, web: httpx.AsyncClient):
    query = """{ services(filter: { name: ["checkout"] }) { nodes {
        deployments(first: 1) { nodes { version outcome } } } } }"""

    async def newest() -> dict[str, str]:
        answer = (await web.post(f"{server.url}/graphql", json={"query": query})).json()
        found: dict[str, str] = answer["data"]["services"]["nodes"][0]["deployments"]["nodes"][0]
        return found

    async with (
        ServerProcess(DATABASE_URL=database_url) as server,
        running_shop(quiet(studio_url=server.url)) as shop,
    ):
        await shop.break_it(Fault.BAD_DEPLOY, None)
        assert await newest() == {"version": BAD_VERSION, "outcome": "SUCCEEDED"}
        assert 502 in await order(web, shop, 12)
        assert await sampled(web, shop, "checkout", "target_info", service_version=BAD_VERSION) == 1

        await shop.heal(Fault.BAD_DEPLOY)
        assert await newest() == {"version": BAD_VERSION, "outcome": "ROLLED_BACK"}
        assert await order(web, shop, 12) == [201] * 12


async def test_the_control_explains_switches_and_refuses(shop: Shop):
    transport = httpx.ASGITransport(control(shop))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        assert (await http.get("/")).text == guide("http://shop")
        assert all(fault in guide("") and lesson.look in guide("") for fault, lesson in LESSONS.items())
        assert (await http.get("/health")).status_code == 200

        broken = (await http.post("/faults/error-burst", json={"seconds": 60})).json()
        assert broken["faults"]["error-burst"] is True
        healed = (await http.delete("/faults/error-burst")).json()
        assert healed["faults"]["error-burst"] is False

        unknown = await http.post("/faults/earthquake")
        assert unknown.status_code == 404
        assert "slow-database" in unknown.json()["error"]
        for wrong in ({"seconds": -1}, {"seconds": "long"}, {"seconds": True}):
            assert (await http.post("/faults/error-burst", json=wrong)).status_code == 400
        assert (await http.post("/faults/error-burst", content=b"{")).status_code == 400


def test_every_call_leads_to_an_endpoint():
    endpoints = {(service.name, each.method, each.path) for service in SERVICES for each in service.endpoints}
    calls = {
        (call.service, call.method, call.path)
        for service in SERVICES
        for endpoint in service.endpoints
        for call in endpoint.calls
    }
    assert calls <= endpoints
