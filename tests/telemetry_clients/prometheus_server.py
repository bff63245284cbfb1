"""A real Prometheus for tests: the fixture `prometheus_server`, and the parts to start others.

A pytest plugin, registered in `tests/conftest.py`: `pytest_plugins = ["tests.telemetry_clients.prometheus_server"]`.
"""

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from domain.time import Deadline
from telemetry_clients.errors import TelemetryError
from telemetry_clients.prometheus import Prometheus, promql
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.eventually import eventually

SCRAPE_INTERVAL_SECONDS = 1

_CONFIGURATION = f"""\
global:
  scrape_interval: {SCRAPE_INTERVAL_SECONDS}s
  scrape_timeout: {SCRAPE_INTERVAL_SECONDS}s
  evaluation_interval: 1s
rule_files: [rules.yml]
scrape_configs:
  - job_name: tests
    file_sd_configs:
      - files: [targets.json]
        refresh_interval: 1s
"""
_LISTENING = re.compile(r'msg="Listening on".* address=(\S+)')


@dataclass
class PrometheusServer:
    """A running server. `url` is for what is to be configured with it, `client` for what wants to ask it at once."""

    url: str
    client: Prometheus
    folder: Path
    targets: list[dict[str, object]] = field(default_factory=list)

    async def scrape(
        self, address: str, *, job: str, path: str = "/metrics", labels: Mapping[str, str] | None = None
    ) -> None:
        """Scrape `address` (host:port) every second from now on; returns once it was scraped successfully.

        Its series carry `job`, `instance` (the address) and `labels`. Prometheus takes 5 to 10 s to notice a target.
        """
        self.targets.append({"targets": [address], "labels": {"job": job, "__metrics_path__": path, **(labels or {})}})
        partial = self.folder / "targets.partial"
        partial.write_text(json.dumps(self.targets))
        partial.rename(self.folder / "targets.json")
        up = promql.selector("up", promql.matcher("job", "=", job), promql.matcher("instance", "=", address))

        async def scraped() -> bool:
            result = await self.client.query(f"{up} == 1", deadline=Deadline.after(20))
            return bool(result.series)

        await eventually(f"Prometheus scrapes {address}{path}", scraped)


@contextlib.asynccontextmanager
async def running_prometheus(
    folder: Path, *, history: str = "", rules: str = "", flags: Sequence[str] = ()
) -> AsyncIterator[PrometheusServer]:
    """Start a Prometheus of its own in an empty folder, on a free port, and stop it at the end.

    `history` is OpenMetrics text with timestamps (of the last two weeks) that it has stored already; `rules` is a rule
    file that it evaluates every second.
    Skips the test where the binaries are missing.
    """
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("no prometheus on this machine: apt-get install --no-install-recommends prometheus")
    (folder / "prometheus.yml").write_text(_CONFIGURATION)
    (folder / "rules.yml").write_text(rules or "groups: []\n")
    (folder / "targets.json").write_text("[]")
    if history:
        await _store(folder, history)
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            *flags,
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        url = await _address(process, log)
        async with Transport(Endpoint(backend="Prometheus", url=url)) as transport:
            await _ready(transport)
            yield PrometheusServer(url, Prometheus(transport), folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@pytest.fixture(scope="session")
async def prometheus_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrometheusServer]:
    """One Prometheus for the whole session. It scrapes nothing by itself: add targets with `scrape`."""
    async with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


async def _store(folder: Path, history: str) -> None:
    """Write samples into the server's storage before it starts."""
    (folder / "history.txt").write_text(history)
    promtool = await asyncio.create_subprocess_exec(
        "promtool",
        *("tsdb", "create-blocks-from", "openmetrics", "history.txt", "data"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await promtool.communicate()
    assert promtool.returncode == 0, output.decode()


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    """Where the server listens, as it says itself: a port chosen here could be taken by the time it starts."""

    async def listening() -> bool:
        assert process.returncode is None, f"Prometheus ended:\n{_text(log)}"
        return _LISTENING.search(_text(log)) is not None

    await eventually("Prometheus listens", listening)
    return "http://" + _LISTENING.findall(_text(log))[0]


def _text(log: Path) -> str:
    return log.read_text()


async def _ready(transport: Transport) -> None:
    async def ready() -> bool:
        try:
            answer = await transport.get("/-/ready", deadline=Deadline.after(5))
        except TelemetryError:
            return False
        return answer.succeeded

    await eventually("Prometheus is ready", ready)
