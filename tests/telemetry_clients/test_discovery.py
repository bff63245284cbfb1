"""Services are found in a real Prometheus under the labels and metrics that they have."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from domain.telemetry import GoldenSignal
from domain.time import Deadline
from telemetry_clients.errors import TelemetryUnavailable
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.prometheus.discovery import Discovery, Places, told_apart
from telemetry_clients.prometheus.request_metrics import Form
from telemetry_clients.services import Service
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server
from tests.telemetry_clients.prometheus_server import PrometheusServer, running_prometheus
from tests.telemetry_clients.test_golden_signals import END, NASTY_NAMES, OTEL, History

RATE, RATIO, P95 = GoldenSignal.REQUEST_RATE, GoldenSignal.ERROR_RATIO, GoldenSignal.LATENCY_P95


def soon() -> Deadline:
    return Deadline.after(10)


@pytest.fixture(scope="module")
async def prometheus(tmp_path_factory) -> AsyncIterator[PrometheusServer]:
    history = History()
    history.histogram(OTEL, growth={"0.1": 10, "+Inf": 10}, service="checkout", http_response_status_code="200")
    history.counter("http_requests_total", growth=10, service="checkout", code="200")
    history.counter("http_requests_total", growth=10, service_name="payment", status="200")
    history.counter("http_requests_total", growth=10, job="shop/inventory", method="GET")
    history.counter("http_requests_total", growth=10, job="blue/catalog", code="200")
    history.counter("http_requests_total", growth=10, job="green/catalog", code="200")
    history.counter("http_requests_total", growth=10, job="search", code="200")
    history.counter("http_requests_total", growth=10, job="other/search", code="200")
    history.counter("process_cpu_seconds_total", growth=1, job="search")
    history.counter("http_requests_total", growth=10, app="both", code="200")
    history.counter("http_requests_total", growth=10, service="both", code="200")
    history.counter("http_requests_total", growth=10, namespace="blue", component="api", code="200")
    history.counter("up", growth=0, service="only up")
    for name in NASTY_NAMES:
        history.counter("http_requests_total", growth=10, service=name, code="200")
    async with running_prometheus(tmp_path_factory.mktemp("named"), history=str(history)) as server:
        yield server


async def find(prometheus: PrometheusServer, *services: Service) -> list[Places]:
    found = await Discovery(prometheus.client).places(services, at=END, deadline=soon())
    return [found[service] for service in services]


async def test_each_service_is_found_under_the_label_and_the_metrics_that_it_has(prometheus):
    names = ("checkout", "payment", "inventory", "catalog", "search", "both")
    checkout, payment, inventory, catalog, search, both = await find(prometheus, *map(Service, names))

    assert (checkout[RATE].labels, checkout[RATE].values) == (("service",), (("checkout",),))
    [source] = checkout[P95].sources.requests
    assert (source.metric.name, source.form) == (OTEL, Form.CLASSIC)
    assert checkout[RATIO].sources.requests[0].status_labels == ("http_response_status_code",)

    assert payment[RATIO].labels == ("service_name",)
    assert payment[RATIO].sources.requests[0].status_labels == ("status",)
    assert P95 not in payment, "a counter has no latencies"

    assert (inventory[RATE].labels, inventory[RATE].values) == (("job",), (("shop/inventory",),))
    assert RATIO not in inventory, "nobody knows which requests failed"

    assert catalog[RATE].values == (("blue/catalog",), ("green/catalog",))
    assert search[RATE].values == (("search",),), "a service of that very name is not that of a namespace"
    assert search[GoldenSignal.SATURATION].sources.cpu_seconds == ("process_cpu_seconds_total",)
    assert both[RATE].labels == ("service",), "the usual order decides"


async def test_declared_labels_are_the_only_ones_that_count(prometheus):
    declared = Service("anything", (("component", "api"), ("namespace", "blue")))
    elsewhere = Service("checkout", (("service", "payment"),))
    found, missed = await find(prometheus, declared, elsewhere)
    assert (found[RATE].labels, found[RATE].values) == (("component", "namespace"), (("api", "blue"),))
    assert missed == {}


async def test_a_service_without_the_usual_metrics_has_no_places(prometheus):
    assert await find(prometheus, Service("only up"), Service("nobody")) == [{}, {}]


async def test_nasty_names_find_themselves_and_nothing_else(prometheus):
    services = [Service(name) for name in NASTY_NAMES]
    for service, places in zip(services, await find(prometheus, *services), strict=True):
        assert places[RATE].values == ((service.name,),)
    assert (await find(prometheus, Service('b"} or {x="')))[0] == {}


async def test_what_was_found_long_before_the_time_asked_about_is_not_found(prometheus):
    services = [Service("checkout")]
    later = await Discovery(prometheus.client).places(
        services, at=END + timedelta(hours=2), lookback_seconds=600, deadline=soon()
    )
    assert later == {Service("checkout"): {}}


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


FOUND = b"""{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"__name__":"http_requests_total","service":"checkout","code":"200"},"value":[1,"1"]}]}}"""


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(http_answer(FOUND))) as server:
        yield server


@pytest.fixture
async def client(server) -> AsyncIterator[Prometheus]:
    async with Transport(Endpoint(backend="Prometheus", url=server.url)) as transport:
        yield Prometheus(transport)


async def test_what_was_found_is_remembered_longer_than_what_was_not(client, server):
    clock = Clock()
    discovery = Discovery(client, clock=clock)
    both = [Service("checkout"), Service("nobody")]
    for seconds, calls in ((0, 1), (14, 1), (16, 2), (29, 2), (601, 3)):
        clock.seconds = seconds
        found = await discovery.places(both, at=END, deadline=soon())
        assert (RATE in found[both[0]], found[both[1]]) == (True, {})
        assert len(server.requests) == calls
    assert "checkout" not in server.requests[1].parameters["query"][0], "only what is not remembered is asked"


async def test_a_service_that_was_silent_then_may_speak_now(client, server):
    discovery = Discovery(client, clock=Clock())
    for at, calls in ((END - timedelta(days=30), 1), (END - timedelta(days=30), 1), (END, 2)):
        await discovery.places([Service("nobody")], at=at, deadline=soon())
        assert len(server.requests) == calls


async def test_who_asks_at_the_same_time_waits_for_the_same_answer(client, server):
    discovery = Discovery(client)
    found = await asyncio.gather(*(discovery.places([Service("checkout")], at=END, deadline=soon()) for _ in range(10)))
    assert all(RATE in places[Service("checkout")] for places in found)
    assert len(server.requests) == 1


async def test_no_more_services_are_remembered_than_allowed(client, server):
    discovery = Discovery(client, most_services=2)
    for name in ("checkout", "a", "b", "checkout"):
        await discovery.places([Service(name)], at=END, deadline=soon())
    assert len(server.requests) == 4
    await discovery.places([Service("b")], at=END, deadline=soon())
    assert len(server.requests) == 4


async def test_a_failure_is_not_remembered_and_not_passed_on_to_who_can_still_ask(client, server):
    async def unwell(_request: object, writer: asyncio.StreamWriter) -> None:
        answer = http_answer(b"", status=500) if len(server.requests) == 1 else http_answer(FOUND)
        writer.write(answer)

    server.behaviour = unwell
    discovery = Discovery(client)
    first, second = await asyncio.gather(
        *(discovery.places([Service("checkout")], at=END, deadline=soon()) for _ in range(2)), return_exceptions=True
    )
    assert isinstance(first, TelemetryUnavailable)
    assert not isinstance(second, BaseException)
    assert RATE in second[Service("checkout")]


async def test_where_the_question_is_refused_everything_usual_is_possible(client, server):
    refusal = b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}'
    server.behaviour = answering(http_answer(refusal, status=422))
    service = Service("checkout")
    found = await Discovery(client).places([service], at=END, deadline=soon())
    assert (found[service][P95].labels, found[service][P95].values) == (("service",), (("checkout",),))
    assert len(found[service][P95].sources.requests) > 10


def test_a_native_histogram_is_preferred_to_the_classic_one_of_the_same_requests():
    labels = {"service": "checkout", "code": "200"}
    names = ("http_request_duration_seconds_count", "http_request_duration_seconds")
    found = told_apart([Service("checkout")], [{"__name__": name, **labels} for name in names])
    [source] = found[Service("checkout")][P95].sources.requests
    assert source.form is Form.NATIVE
