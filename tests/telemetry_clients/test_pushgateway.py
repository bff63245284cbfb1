"""The Pushgateway client, against recorded exchanges and Debian's real Pushgateway."""

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.pushgateway import Pushgateway, group_path
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.daemon import daemon
from tests.telemetry_clients.local_server import answering, http_answer, local_server
from tests.telemetry_clients.recorded import recording


def soon() -> Deadline:
    return Deadline.after(10)


def rows(count: float, name: str = "batch_rows_total") -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge(name, "Rows.", registry=registry).set(count)
    return registry


@pytest.fixture(scope="module")
async def transport(tmp_path_factory) -> AsyncIterator[Transport]:
    command = ("prometheus-pushgateway", "--web.listen-address=127.0.0.1:0")
    folder = tmp_path_factory.mktemp("pushgateway")
    listening = r'msg="(?:Listening on|TLS is disabled.)".* address=(\S+)'
    async with (
        daemon(command, folder, listening=listening, package="prometheus-pushgateway") as url,
        Transport(Endpoint(backend="Pushgateway", url=url)) as transport,
    ):
        yield transport


@pytest.fixture
def pushgateway(transport) -> Pushgateway:
    return Pushgateway(transport)


async def pushed(transport: Transport, job: str) -> dict[str, float]:
    """The values of a job's metrics, by name, without those that the Pushgateway adds."""
    text = (await transport.get("/metrics", deadline=soon())).body.decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("job") == job and not sample.name.startswith("push_")
    }


async def test_a_push_replaces_metrics_of_the_same_names_and_a_replacement_all_of_the_group(pushgateway, transport):
    await pushgateway.push(rows(1), job="nightly", deadline=soon())
    await pushgateway.push(rows(2, "batch_files"), job="nightly", deadline=soon())
    await pushgateway.push(rows(3), job="nightly", deadline=soon())
    assert await pushed(transport, "nightly") == {"batch_rows_total": 3, "batch_files": 2}
    await pushgateway.replace(rows(4), job="nightly", deadline=soon())
    assert await pushed(transport, "nightly") == {"batch_rows_total": 4}
    await pushgateway.delete(job="nightly", deadline=soon())
    await pushgateway.delete(job="nightly", deadline=soon())
    assert await pushed(transport, "nightly") == {}


@pytest.mark.parametrize("value", ["a/b", "", "with space", "ünïcode", 'quo"te', "100%", "..", "?x=1#y", "a+b"])
async def test_the_labels_of_a_group_may_hold_anything(pushgateway, transport, value):
    await pushgateway.push(rows(1), job="labels", grouping={"path": value}, deadline=soon())
    text = (await transport.get("/metrics", deadline=soon())).body.decode()
    found = {
        sample.labels.get("path", "")
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "batch_rows_total" and sample.labels["job"] == "labels"
    }
    assert found == {value}
    await pushgateway.delete(job="labels", grouping={"path": value}, deadline=soon())
    assert await pushed(transport, "labels") == {}


async def test_metrics_that_contradict_those_of_another_group_are_refused_in_its_words(pushgateway):
    registry = CollectorRegistry()
    Counter("batch_rows", "Rows, as a counter.", registry=registry)
    await pushgateway.push(rows(1), job="one", deadline=soon())
    with pytest.raises(TelemetryBadQuery, match="inconsistent"):
        await pushgateway.push(registry, job="two", deadline=soon())


async def test_a_sample_with_a_timestamp_is_never_sent(pushgateway):
    class Timed(Collector):
        def collect(self) -> list[Metric]:
            metric = Metric("batch_rows", "Rows.", "gauge")
            metric.add_sample("batch_rows", {}, 1, timestamp=1)
            return [metric]

    registry = CollectorRegistry()
    registry.register(Timed())
    with pytest.raises(TelemetryBadQuery, match="timestamps"):
        await pushgateway.push(registry, job="timed", deadline=soon())


@pytest.mark.parametrize("name", ["malformed", "with_timestamp_refused", "inconsistent_type"])
async def test_recorded_refusals_keep_their_words(name):
    response = recording("pushgateway", name).response
    answer = http_answer(response["text"].encode(), status=response["status"], content_type="text/plain")
    async with (
        local_server(answering(answer)) as server,
        Transport(Endpoint(backend="Pushgateway", url=server.url)) as transport,
    ):
        with pytest.raises(TelemetryBadQuery) as raised:
            await Pushgateway(transport).push(rows(1), job="nightly", deadline=soon())
    assert response["text"].strip() in raised.value.message


def test_a_group_has_a_path_of_its_own():
    assert group_path("nightly", {"instance": "batch-1"}) == "/metrics/job/nightly/instance/batch-1"
    assert group_path("a/b", {"empty": ""}) == "/metrics/job@base64/YS9i/empty@base64/="
    for job, grouping in (("", None), ("x", {"job": "y"}), ("x", {"a-b": "y"})):
        with pytest.raises(TelemetryBadQuery):
            group_path(job, grouping)
