"""Several processes on one port: whichever is scraped tells what all of them count."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app.observability.fleet import Fleet
from tests.servers import ROOT, environment
from tests.waiting import until

REQUESTS = "http_server_request_duration_seconds_count"


@asynccontextmanager
async def worker(folder: Path, number: int, database_url: str) -> AsyncIterator[tuple[Process, str]]:
    """A process of the fleet, and where it is asked."""
    command = (sys.executable, "-m", "tests.app.fleet_worker", str(folder), str(number), database_url)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT, env=environment())
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        while not (line := (await process.stdout.readline()).decode()).startswith("http://"):
            assert line, "the worker did not start"
        yield process, line.strip()
    finally:
        process.stdin.close()
        await process.wait()


async def scraped(http: httpx.AsyncClient, url: str) -> dict[tuple[str, ...], float]:
    """The samples of /metrics by name and the values of their labels, in the order of their names."""
    text = (await http.get(f"{url}/metrics")).text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_each_process_tells_what_all_of_them_count(database_url: str):
    with TemporaryDirectory(prefix="studio-") as short:
        folder = Path(short)
        async with (
            httpx.AsyncClient(timeout=30) as http,
            worker(folder, 0, database_url) as (_, first),
            worker(folder, 1, database_url) as (other, second),
        ):
            for url, times in ((first, 3), (second, 5)):
                for _ in range(times):
                    (await http.get(f"{url}/health")).raise_for_status()

            for url in (first, second):
                samples = await scraped(http, url)
                assert samples[REQUESTS, "GET", "200", "/health", "0"] == 3
                assert samples[REQUESTS, "GET", "200", "/health", "1"] == 5
                assert samples["reliability_studio_worker_up", "0"] == samples["reliability_studio_worker_up", "1"] == 1
                assert samples["reliability_studio_connections", "sse", "1"] == 0
                assert sum(value for key, value in samples.items() if key[0] == "reliability_studio_relay_leader") == 1

            other.kill()
            await other.wait()
            samples = await scraped(http, first)
            assert samples["reliability_studio_worker_up", "1"] == 0
            assert (REQUESTS, "GET", "200", "/health", "1") not in samples

            async with worker(folder, 1, database_url) as (_, again):
                (await http.get(f"{again}/health")).raise_for_status()
                samples = await scraped(http, first)
                assert samples[REQUESTS, "GET", "200", "/health", "1"] == 1
            samples = await scraped(http, first)
            assert ("reliability_studio_worker_up", "1") not in samples


async def test_nothing_of_a_metric_is_lost_on_the_way():
    def registry(value: float) -> CollectorRegistry:
        made = CollectorRegistry()
        Gauge("depth", "How deep.", ["where"], registry=made).labels('a "quoted" place').set(value)
        Counter("seen", "How many.", registry=made).inc(2)
        durations = Histogram("took_seconds", "How long.", buckets=(1.0,), registry=made)
        durations.observe(0.5, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
        return made

    async def sampled() -> CollectorRegistry:
        return registry(float("nan"))

    with TemporaryDirectory(prefix="studio-") as short:
        async with Fleet(Path(short), 1).listening(sampled):
            merged = await Fleet(Path(short), 0).merged(registry(float("inf")))
    text = generate_latest(merged).decode()
    families = {family.name: family for family in read_openmetrics(text)}
    assert [sample.labels for sample in families["depth"].samples] == [
        {"where": 'a "quoted" place', "worker": "0"},
        {"where": 'a "quoted" place', "worker": "1"},
    ]
    assert [str(sample.value) for sample in families["depth"].samples] == ["inf", "nan"]
    buckets = [sample for sample in families["took_seconds"].samples if sample.labels.get("le") == "1.0"]
    assert [sample.exemplar.labels for sample in buckets if sample.exemplar] == [
        {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    ] * 2


async def test_who_takes_over_a_place_keeps_it_when_its_predecessor_goes():
    async def sampled() -> CollectorRegistry:
        return CollectorRegistry()

    with TemporaryDirectory(prefix="studio-") as short:
        folder = Path(short)
        before = Fleet(folder, 1).listening(sampled)
        after = Fleet(folder, 1).listening(sampled)
        await before.__aenter__()
        await after.__aenter__()
        await before.__aexit__(None, None, None)
        assert [path.name for path in folder.iterdir()] == ["metrics-1.sock"]
        await after.__aexit__(None, None, None)
        await until(lambda: not [*folder.iterdir()])
