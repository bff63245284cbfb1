"""The dashboard of the server itself, from its own metrics and logs."""

from typing import Any, Final

from grafana.panels import LOKI, Panel, dashboard

_SERVER: Final = 'job="reliability-studio"'
_REQUESTS: Final = "http_server_request_duration_seconds"
_OPERATIONS: Final = "graphql_server_operation_duration_seconds"
_LOOKUPS: Final = "reliability_studio_graphql_cache_lookups_total"


def server() -> Any:
    """How the server is, from its own metrics."""
    panels = (
        Panel("Up", "Servers that answer.", ((f"sum(up{{{_SERVER}}})", ""),), kind="stat", width=4, height=4),
        Panel(
            "Version",
            "What runs.",
            ((f"count by (version) (reliability_studio_build_info{{{_SERVER}}})", "{{version}}"),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Errors",
            "Requests that failed by our fault, of all in 5 minutes.",
            (("job:http_server_request_errors:ratio_rate5m", ""),),
            kind="stat",
            unit="percentunit",
            width=4,
            height=4,
            thresholds=((0.001, "orange"), (0.01, "red")),
        ),
        Panel(
            "Subscriptions",
            "Open subscriptions.",
            ((f"sum(reliability_studio_subscriptions{{{_SERVER}}})", ""),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Relay lag",
            "Age of the oldest event without a place in the log.",
            ((f"max(reliability_studio_relay_lag_seconds{{{_SERVER}}})", ""),),
            kind="stat",
            unit="s",
            width=4,
            height=4,
            thresholds=((5, "orange"), (30, "red")),
        ),
        Panel(
            "Circuit breakers open",
            "Telemetry backends that are left alone.",
            ((f'sum(telemetry_circuit_breaker_state{{{_SERVER}, state="open"}})', ""),),
            kind="stat",
            width=4,
            height=4,
            thresholds=((1, "red"),),
        ),
        Panel(
            "Requests",
            "By route and status.",
            (
                (
                    "sum by (http_route, http_response_status_code) "
                    f"(rate({_REQUESTS}_count{{{_SERVER}}}[$__rate_interval]))",
                    "{{http_route}} {{http_response_status_code}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Latency",
            "Quantiles over all routes.",
            tuple(
                (
                    f"histogram_quantile({quantile}, sum by (le) "
                    f"(rate({_REQUESTS}_bucket{{{_SERVER}}}[$__rate_interval])))",
                    name,
                )
                for quantile, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            unit="s",
            exemplars=True,
        ),
        Panel(
            "Slowest routes",
            "99th percentile by route.",
            (("job_route:http_server_request_duration_seconds:p99_5m", "{{http_route}}"),),
            unit="s",
        ),
        Panel(
            "Connections",
            "WebSockets and event streams.",
            ((f"sum by (transport) (reliability_studio_connections{{{_SERVER}}})", "{{transport}}"),),
            stacked=True,
        ),
        Panel(
            "Deliveries",
            "Frames of subscriptions sent.",
            (
                (
                    f"sum by (transport) (rate(reliability_studio_deliveries_total{{{_SERVER}}}[$__rate_interval]))",
                    "{{transport}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Event log",
            "How far each process is behind, and what the relay moves.",
            (
                (f"reliability_studio_event_log_reader_lag_events{{{_SERVER}}}", "reader lag {{instance}} {{worker}}"),
                (f"sum(rate(reliability_studio_relay_moved_total{{{_SERVER}}}[$__rate_interval]))", "moved per second"),
            ),
        ),
        Panel(
            "GraphQL operations",
            "By type and outcome.",
            (
                (
                    "sum by (graphql_operation_type, outcome) "
                    f"(rate({_OPERATIONS}_count{{{_SERVER}}}[$__rate_interval]))",
                    "{{graphql_operation_type}} {{outcome}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "GraphQL latency",
            "95th percentile by operation; METRICS_OPERATION_NAMES says which are told apart.",
            (
                (
                    "histogram_quantile(0.95, sum by (graphql_operation_name, graphql_operation_type, le) "
                    f"(rate({_OPERATIONS}_bucket{{{_SERVER}}}[$__rate_interval])))",
                    "{{graphql_operation_type}} {{graphql_operation_name}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Documents and statements found",
            "Of those looked for, the share that was parsed, validated and compiled already.",
            (
                (
                    f'sum by (cache) (increase({_LOOKUPS}{{{_SERVER}, result="hit"}}[1h])) '
                    f"/ sum by (cache) (increase({_LOOKUPS}{{{_SERVER}}}[1h]))",
                    "{{cache}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Statements",
            "95th percentile of the time in Postgres, by pool, or session of its own.",
            (
                (
                    "histogram_quantile(0.95, sum by (db_client_connection_pool_name, le) "
                    f"(rate(db_client_operation_duration_seconds_bucket{{{_SERVER}}}[$__rate_interval])))",
                    "{{db_client_connection_pool_name}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Connections to Postgres",
            "Used, of those that there may be.",
            (
                (
                    "sum by (db_client_connection_pool_name) "
                    f'(db_client_connection_count{{{_SERVER}, db_client_connection_state="used"}}) '
                    f"/ sum by (db_client_connection_pool_name) (db_client_connection_max{{{_SERVER}}})",
                    "{{db_client_connection_pool_name}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Waiting and tried again",
            "Reads that wait for a connection, and transactions that gave way to others.",
            (
                (f"sum(db_client_connection_pending_requests{{{_SERVER}}})", "reads waiting"),
                (f"sum(rate(db_client_transaction_retries_total{{{_SERVER}}}[$__rate_interval]))", "retries"),
            ),
        ),
        Panel(
            "Background jobs",
            "By kind and outcome.",
            (
                (
                    "sum by (kind, outcome) "
                    f"(rate(reliability_studio_job_run_duration_seconds_count{{{_SERVER}}}[$__rate_interval])) > 0",
                    "{{kind}} {{outcome}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Jobs waiting",
            "For how long the first of each kind has been due.",
            ((f"max by (kind) (reliability_studio_jobs_oldest_waiting_seconds{{{_SERVER}}})", "{{kind}}"),),
            unit="s",
        ),
        Panel(
            "Analyses",
            "95th percentile of the time that analyses and the correlation engine take, and gaps that backends left in "
            "an hour.",
            (
                (
                    "histogram_quantile(0.95, sum by (le) "
                    f"(rate(reliability_studio_analysis_duration_seconds_bucket{{{_SERVER}}}[1h])))",
                    "p95",
                ),
                (
                    "histogram_quantile(0.95, sum by (le) "
                    f"(rate(reliability_studio_correlation_engine_duration_seconds_bucket{{{_SERVER}}}[1h])))",
                    "engine p95",
                ),
                (
                    f"sum by (backend) (increase(reliability_studio_analysis_gaps_total{{{_SERVER}}}[1h]))",
                    "{{backend}}",
                ),
            ),
        ),
        Panel(
            "Evaluations",
            "How late detection and SLOs are, whichever server evaluates them.",
            (
                (f"max(detection_lag_seconds{{{_SERVER}}})", "detection"),
                (f"max(slo_evaluation_lag_seconds{{{_SERVER}}})", "SLOs"),
            ),
            unit="s",
        ),
        Panel(
            "Cannot be evaluated",
            "Detection rules that fail for some or all services, and SLOs whose own query fails.",
            (
                (f"max(detection_rules_failing{{{_SERVER}}})", "detection rules"),
                (f"max(slo_evaluation_quarantined{{{_SERVER}}})", "SLOs"),
            ),
        ),
        Panel(
            "Telemetry calls",
            "By backend and outcome.",
            (
                (
                    "sum by (backend, outcome) "
                    f"(rate(telemetry_call_duration_seconds_count{{{_SERVER}}}[$__rate_interval]))",
                    "{{backend}} {{outcome}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Telemetry latency",
            "95th percentile by backend, retries and waiting included.",
            (
                (
                    "histogram_quantile(0.95, sum by (backend, le) "
                    f"(rate(telemetry_call_duration_seconds_bucket{{{_SERVER}}}[$__rate_interval])))",
                    "{{backend}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Spared calls",
            "Questions that needed no call of their own, and retries.",
            tuple(
                (f"sum by (backend) (rate({metric}{{{_SERVER}}}[$__rate_interval]))", f"{{{{backend}}}} {name}")
                for metric, name in (
                    ("telemetry_calls_coalesced_total", "coalesced"),
                    ("telemetry_cache_hits_total", "from the cache"),
                    ("telemetry_call_retries_total", "retries"),
                )
            ),
            unit="ops",
        ),
        Panel(
            "CPU",
            "Cores in use.",
            ((f"rate(process_cpu_seconds_total{{{_SERVER}}}[$__rate_interval])", "{{instance}} {{worker}}"),),
        ),
        Panel(
            "Memory",
            "Resident.",
            ((f"process_resident_memory_bytes{{{_SERVER}}}", "{{instance}} {{worker}}"),),
            unit="bytes",
        ),
        Panel(
            "File descriptors",
            "Open, of those allowed.",
            ((f"process_open_fds{{{_SERVER}}} / process_max_fds{{{_SERVER}}}", "{{instance}} {{worker}}"),),
            unit="percentunit",
        ),
        Panel(
            "Own traces and logs",
            "Spans and lines that the collectors took, and those that were lost.",
            tuple(
                (f"sum(rate(reliability_studio_{what}_total{{{_SERVER}}}[$__rate_interval]))", what.replace("_", " "))
                for what in ("spans_exported", "spans_dropped", "log_records_exported", "log_records_dropped")
            ),
            unit="ops",
        ),
        Panel(
            "Warnings and errors",
            "Lines of the log.",
            (('{service_name="reliability-studio"} | severity_text=~"warning|error"', ""),),
            kind="logs",
            source=LOKI,
            width=16,
        ),
    )
    return dashboard("reliability-studio-server", "Reliability Studio: server", "The server itself.", panels)
