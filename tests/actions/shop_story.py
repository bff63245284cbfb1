"""A small shop in trouble: payment turns slow after a deployment, checkout gives up on it, frontend passes that on.

`frontend → checkout → payment, inventory`, seen by a real Prometheus, and by servers that speak Loki and Tempo.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import Api
from tests.telemetry_clients.local_server import LocalServer, local_server
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.telemetry_clients.prometheus_server import running_prometheus
from tests.telemetry_clients.tempo_server import StoredTrace, TempoServer, trace_id

# On a minute, long enough ago that all of the fault has been measured.
STARTED_AT = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=12)
NOW = STARTED_AT + timedelta(minutes=10)
SERVICES = ("frontend", "checkout", "payment", "inventory")
BOUNDS = (0.05, 0.1, 0.5, 1.0, 5.0)

_SCRAPE_SECONDS = 15
_BEFORE_SECONDS = 4_200
_ONSET_SECONDS = -60  # it shows a minute before anybody notices
_REQUESTS = 20  # of each service between two scrapes


@dataclass
class Shop:
    """The backends as clients, and the servers behind them, which can be made to fail."""

    telemetry: Telemetry
    loki: LocalLoki
    tempo: TempoServer
    tempo_server: LocalServer


@asynccontextmanager
async def measured_shop(folder: Path) -> AsyncGenerator[Shop]:
    """All three backends, with the story in them."""
    async with AsyncExitStack() as stack:
        prometheus = await stack.enter_async_context(running_prometheus(folder, history="\n".join(_metrics())))
        loki = await stack.enter_async_context(local_loki())
        loki.label_values = {"service_name": [*SERVICES]}
        loki.lines = [*_lines()]
        tempo = TempoServer(traces=[*_traces()])
        server = await stack.enter_async_context(local_server(tempo))
        tempo_transport, loki_transport, prometheus_transport = [
            await stack.enter_async_context(Transport(Endpoint(backend=name, url=url)))
            for name, url in (("Tempo", server.url), ("Loki", loki.url), ("Prometheus", prometheus.url))
        ]
        telemetry = Telemetry(
            prometheus=Instances("Prometheus", {DEFAULT: Prometheus(prometheus_transport)}),
            loki=Instances("Loki", {DEFAULT: Loki(loki_transport)}),
            tempo=Instances("Tempo", {DEFAULT: Tempo(tempo_transport)}),
        )
        yield Shop(telemetry, loki, tempo, server)


async def open_shop_incident(api: Api) -> str:
    """The catalog of the shop, the deployment, and an incident of those who were hurt first; returns its id."""
    for name, depends_on in (
        ("inventory", []),
        ("payment", []),
        ("checkout", ["payment", "inventory"]),
        ("frontend", ["checkout"]),
    ):
        known = {"name": name, "dependsOn": depends_on}
        if name == "payment":
            known["runbookUrl"] = "https://runbooks.example.org/payment"
        await api.changed("createService", "service { id }", input=known)
    for version, minutes in (("v2.4.0", 3_000), ("v2.4.1", 3)):
        at = (STARTED_AT - timedelta(minutes=minutes)).isoformat()
        deployed = {"service": "payment", "version": version, "environment": "production", "outcome": "SUCCEEDED"}
        deployed |= {"startedAt": at, "finishedAt": at}
        await api.changed("recordDeployment", "deployment { id }", input=deployed)
    known = {
        "title": "Customers cannot pay",
        "severity": "CRITICAL",
        "services": ["frontend", "checkout"],
        "startedAt": STARTED_AT.isoformat(),
    }
    opened = await api.changed("createIncident", "incident { id }", input=known)
    return str(opened["id"])


def _metrics() -> Iterator[str]:
    """OpenMetrics text with timestamps: a histogram of the requests of each service, by status."""
    yield "# TYPE http_server_request_duration_seconds histogram"
    for service in SERVICES:
        for status in ("200", "503"):
            yield from _histogram(service, status)
    yield "# TYPE process_cpu_seconds counter"
    for service in SERVICES:
        for at in range(-_BEFORE_SECONDS, 601, _SCRAPE_SECONDS):
            used = (at + _BEFORE_SECONDS) * 0.2 + (at % 7) * 0.01
            yield f'process_cpu_seconds_total{{service="{service}"}} {used:.3f} {STARTED_AT.timestamp() + at:.0f}'
    yield "# EOF"


def _histogram(service: str, status: str) -> Iterator[str]:
    name = "http_server_request_duration_seconds"
    labels = f'service="{service}",http_response_status_code="{status}"'
    buckets, total = [0.0] * (len(BOUNDS) + 1), 0.0
    lines: dict[str, list[str]] = {}
    for at in range(-_BEFORE_SECONDS, 601, _SCRAPE_SECONDS):
        is_bad = at >= _ONSET_SECONDS
        wobble = (at // _SCRAPE_SECONDS * 7919) % 5 - 2
        failing = {"checkout": 0.4, "frontend": 0.35}.get(service, 0.0) if is_bad else 0.0
        share = failing if status == "503" else 1 - failing
        count = (_REQUESTS + wobble) * share
        seconds = 3.0 if is_bad and service != "inventory" else 0.07 + 0.01 * wobble
        total += count * seconds
        for place, bound in enumerate((*BOUNDS, float("inf"))):
            if seconds <= bound:
                buckets[place] += count
        stamp = f"{STARTED_AT.timestamp() + at:.0f}"
        for place, bound in enumerate((*(f"{it:g}" for it in BOUNDS), "+Inf")):
            series = f'{name}_bucket{{{labels},le="{bound}"}}'
            lines.setdefault(series, []).append(f"{series} {buckets[place]:.2f} {stamp}")
        for suffix, value in (("count", buckets[-1]), ("sum", total)):
            series = f"{name}_{suffix}{{{labels}}}"
            lines.setdefault(series, []).append(f"{series} {value:.2f} {stamp}")
    for series_lines in lines.values():
        yield from series_lines


def _lines() -> Iterator[tuple[int, dict[str, str], str]]:
    for at in range(-_BEFORE_SECONDS, 600, 5):
        time_ns = int((STARTED_AT.timestamp() + at) * 1e9)
        for number, service in enumerate(SERVICES):
            labels = {"service_name": service, "detected_level": "info"}
            yield time_ns + number, labels, f'level=info msg="request served" order={at % 977} took={at % 90}ms'
        if at >= _ONSET_SECONDS:
            bad = {"detected_level": "error"}
            traced = {"trace_id": trace_id(10_000 + (at + 60) // 5)}
            yield (
                time_ns + 2_400_000_000,
                {"service_name": "payment", **bad, **traced},
                f'level=error msg="card processor\0 timed out after 3000ms" order={at % 977}',
            )
            yield (
                time_ns + 2_700_000_000,
                {"service_name": "checkout", **bad, **traced},
                f'level=error msg="upstream payment failed: deadline exceeded" order={at % 977}',
            )


def _traces() -> Iterator[StoredTrace]:
    for number, at in enumerate(range(-_BEFORE_SECONDS, _ONSET_SECONDS, 30)):
        services = ("frontend", "checkout", "payment" if number % 2 else "inventory")
        yield StoredTrace(trace_id(number + 1), STARTED_AT.timestamp() + at, 80 + number % 9, services)
    for number, at in enumerate(range(_ONSET_SECONDS, 600, 5)):
        services = ("frontend", "checkout", "payment" if number % 3 else "inventory")
        failed = frozenset({"frontend", "checkout"}) if number % 3 == 1 else frozenset()
        slow = 3_200 if number % 3 else 85
        yield StoredTrace(trace_id(10_000 + number), STARTED_AT.timestamp() + at, slow, services, failed)
