"""The service graph in Prometheus, as Tempo's metrics-generator and OpenTelemetry's collector write it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from domain.service_graph import ServiceCall
from domain.time import Deadline
from telemetry_clients.prometheus import promql
from telemetry_clients.prometheus.client import Prometheus, QueryResult

REQUESTS = "traces_service_graph_request_total"
FAILURES = "traces_service_graph_request_failed_total"
LATENCIES = "traces_service_graph_request_server_seconds"

_NAMED = (promql.matcher("client", "!=", ""), promql.matcher("server", "!=", ""))
# Who calls from outside is no service: the generator makes one up, called "user", for calls without a caller.
_MADE_UP = (promql.matcher("client", "=", "user"), promql.matcher("connection_type", "=", "virtual_node"))

Pair = tuple[str, str]


async def calls_from_prometheus(
    prometheus: Prometheus, *, at: datetime, window_seconds: float, deadline: Deadline
) -> list[ServiceCall]:
    """Which service called which in the time before `at`; none where there are no such metrics. Raises TelemetryError.

    The metrics of failures exist only where something failed, so that none is a ratio of 0.
    """
    window = promql.duration(window_seconds)
    latencies = " or ".join(
        (
            f"histogram_quantile(0.95, sum by (client, server, le) ({_rate(LATENCIES + '_bucket', window)}))",
            f"histogram_quantile(0.95, sum by (client, server) ({_rate(LATENCIES, window)}))",
        )
    )
    queries = (_sum(REQUESTS, window), _sum(FAILURES, window), latencies)
    tasks = [asyncio.create_task(prometheus.query(query, at=at, deadline=deadline)) for query in queries]
    try:
        rates, failed, slow = map(_by_pair, await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
    return [
        ServiceCall(*pair, rate, min(1.0, max(0.0, failed.get(pair, 0.0) / rate)), slow.get(pair))
        for pair, rate in sorted(rates.items())
        if rate > 0
    ]


def _sum(metric: str, window: str) -> str:
    return f"sum by (client, server) ({_rate(metric, window)})"


def _rate(metric: str, window: str) -> str:
    known = f"rate({promql.selector(metric, *_NAMED)}[{window}])"
    return f"{known} unless rate({promql.selector(metric, *_MADE_UP)}[{window}])"


def _by_pair(result: QueryResult) -> Mapping[Pair, float]:
    return {
        (series.labels.get("client", ""), series.labels.get("server", "")): value
        for series in result.series
        for point in series.points[-1:]
        if (value := point.value) is not None
    }
