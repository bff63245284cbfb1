"""The service graph that a real Prometheus has stored."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.service_graph import ServiceCall
from domain.time import Deadline
from telemetry_clients.prometheus.service_graph import FAILURES, LATENCIES, REQUESTS, calls_from_prometheus
from tests.telemetry_clients.prometheus_server import running_prometheus

STEP_SECONDS = 15
STEPS = 60


def history(end: datetime) -> str:
    """Counters that grow by so much a step, as the metrics-generator would have written them, in OpenMetrics."""
    shop = 'client="frontend",server="checkout",connection_type=""'
    hostile = 'client="a\\"} || {x=\\"",server="checkout",connection_type=""'
    outside = 'client="user",server="frontend",connection_type="virtual_node"'
    people = 'client="user",server="profile",connection_type=""'
    lines: list[str] = []
    lines += _counter(REQUESTS, {shop: 30, hostile: 15, outside: 45, people: 15, 'client="",server="lost"': 3}, end)
    lines += _counter(FAILURES, {shop: 3}, end)
    buckets = {f'{shop},le="0.1"': 15, f'{shop},le="0.2"': 30, f'{shop},le="+Inf"': 30}
    lines += [f"# TYPE {LATENCIES} histogram", *_samples(f"{LATENCIES}_bucket", buckets, end)]
    return "\n".join([*lines, "# EOF", ""])


def _counter(name: str, growths: dict[str, int], end: datetime) -> list[str]:
    return [f"# TYPE {name.removesuffix('_total')} counter", *_samples(name, growths, end)]


def _samples(name: str, growths: dict[str, int], end: datetime) -> Iterable[str]:
    for labels, growth in growths.items():
        for step in range(STEPS + 1):
            at = end.timestamp() - (STEPS - step) * STEP_SECONDS
            yield f"{name}{{{labels}}} {growth * step} {at:.3f}"


async def test_the_calls_are_those_that_the_metrics_generator_counted(tmp_path: Path) -> None:
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)

    async with running_prometheus(tmp_path, history=history(end)) as prometheus:
        calls = await calls_from_prometheus(prometheus.client, at=end, window_seconds=300, deadline=Deadline.after(10))
        earlier = await calls_from_prometheus(
            prometheus.client, at=end - timedelta(days=1), window_seconds=300, deadline=Deadline.after(10)
        )

    assert [(call.caller, call.callee) for call in calls] == [
        ('a"} || {x="', "checkout"),
        ("frontend", "checkout"),
        ("user", "profile"),
    ]
    assert calls[0] == ServiceCall('a"} || {x="', "checkout", pytest.approx(1.0), 0.0, None)
    assert calls[1] == ServiceCall("frontend", "checkout", pytest.approx(2.0), pytest.approx(0.1), pytest.approx(0.19))
    assert earlier == []
