"""A client of Prometheus.

`client.py` asks, `promql.py` writes the queries, `samples.py` reads what comes back. `discovery.py` finds what
Prometheus calls a service, `golden_signals.py` its signals, in the metrics that `request_metrics.py` lists, and
`signal_queries.py` asks for those of many services at once.
"""

from telemetry_clients.prometheus.client import MAX_POINTS, BuildInfo, Prometheus, QueryResult, range_step_seconds
from telemetry_clients.prometheus.samples import Point, Series

__all__ = ["MAX_POINTS", "BuildInfo", "Point", "Prometheus", "QueryResult", "Series", "range_step_seconds"]
