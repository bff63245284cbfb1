"""The dashboards: the server itself (`server.py`), incidents, objectives, and the demo shop."""

from typing import Any, Final

from grafana.panels import LOKI, POSTGRES, TEMPO, Panel, dashboard, label_variable
from grafana.server import server

_SHOP: Final = 'job="demo-shop", service_name=~"$service"'
_REQUESTS: Final = "http_server_request_duration_seconds"


def incidents() -> Any:
    """What became of incidents, from Postgres."""
    in_range = "$__timeFilter(started_at)"
    panels = (
        _stat("Active", "Not resolved yet.", "select count(*) from incidents where status <> 'RESOLVED'", "short"),
        _stat("Incidents", "Started in this time.", f"select count(*) from incidents where {in_range}", "short"),
        _stat(
            "MTTA",
            "From the start to the acknowledgement, on average.",
            f"select avg(extract(epoch from acknowledged_at - started_at)) from incidents where {in_range}",
            "s",
        ),
        _stat(
            "MTTR",
            "From the start to the resolution, on average.",
            f"select avg(extract(epoch from resolved_at - started_at)) from incidents where {in_range}",
            "s",
        ),
        Panel(
            "Incidents by severity",
            "When they started.",
            (
                (
                    "select $__timeGroupAlias(started_at, $__interval), severity::text as metric, count(*) as value "
                    f"from incidents where {in_range} group by 1, severity order by 1",
                    "",
                ),
            ),
            source=POSTGRES,
            width=12,
            stacked=True,
        ),
        Panel(
            "Time to acknowledge and to resolve",
            "On average, by when they started.",
            (
                (
                    "select $__timeGroupAlias(started_at, $__interval), "
                    'avg(extract(epoch from acknowledged_at - started_at)) as "MTTA", '
                    'avg(extract(epoch from resolved_at - started_at)) as "MTTR" '
                    f"from incidents where {in_range} group by 1 order by 1",
                    "",
                ),
            ),
            unit="s",
            source=POSTGRES,
            width=12,
        ),
        Panel(
            "Active incidents",
            "The most severe first.",
            (
                (
                    "select number, title, severity::text, status::text, started_at, "
                    "(select string_agg(s.name, ', ' order by s.name) from incidents_services i "
                    "join services s on s.id = i.service_id where i.incident_id = incidents.id) as services "
                    "from incidents where status <> 'RESOLVED' order by severity desc, started_at limit 50",
                    "",
                ),
            ),
            kind="table",
            source=POSTGRES,
            width=12,
        ),
        Panel(
            "Most hurt services",
            "By incidents in this time.",
            (
                (
                    "select s.name as service, count(*) as incidents, "
                    "avg(extract(epoch from n.resolved_at - n.started_at)) as mttr_seconds "
                    "from incidents_services i join services s on s.id = i.service_id "
                    "join incidents n on n.id = i.incident_id where $__timeFilter(n.started_at) "
                    "group by s.name order by 2 desc limit 20",
                    "",
                ),
            ),
            kind="table",
            source=POSTGRES,
            width=12,
        ),
        Panel(
            "Alerts",
            "Firing now, by service.",
            (
                (
                    "select a.name as alert, s.name as service, a.severity::text, a.starts_at, a.occurrences "
                    "from alerts a left join services s on s.id = a.service_id where a.status = 'FIRING' "
                    "order by a.severity desc, a.starts_at desc limit 50",
                    "",
                ),
            ),
            kind="table",
            source=POSTGRES,
            width=12,
        ),
        Panel(
            "Deployments",
            "In this time, the newest first.",
            (
                (
                    "select s.name as service, d.version, d.environment, d.outcome::text, d.started_at "
                    "from deployments d join services s on s.id = d.service_id where $__timeFilter(d.started_at) "
                    "order by d.started_at desc limit 50",
                    "",
                ),
            ),
            kind="table",
            source=POSTGRES,
            width=12,
        ),
    )
    return dashboard("reliability-studio-incidents", "Reliability Studio: incidents", "Counts, MTTA and MTTR.", panels)


def objectives() -> Any:
    """What is left of the error budgets, from Postgres."""
    joined = "from slos join services s on s.id = slos.service_id left join slo_states e on e.slo_id = slos.id"
    panels = (
        _stat("SLOs", "All of them.", "select count(*) from slos", "short"),
        _stat(
            "Not healthy",
            "Whose budget burns too fast, or is gone.",
            "select count(*) from slo_states where status <> 'HEALTHY'",
            "short",
        ),
        _stat(
            "Least budget left",
            "The worst of them.",
            "select min(error_budget_remaining) from slo_states",
            "percentunit",
        ),
        _stat(
            "Cannot be measured",
            "Whose last evaluation failed.",
            "select count(*) from slo_states where last_error is not null",
            "short",
        ),
        Panel(
            "Objectives and budgets",
            "The least budget first. Without a measurement, the state is empty.",
            (
                (
                    "select s.name as service, slos.name as slo, slos.objective::double precision, slos.window_days, "
                    "e.status::text, e.sli, e.error_budget_remaining, e.budget_exhausts_at, e.measured_at, "
                    f"e.last_error {joined} order by e.error_budget_remaining nulls last, 1, 2 limit 200",
                    "",
                ),
            ),
            kind="table",
            source=POSTGRES,
            width=24,
            height=12,
        ),
        Panel(
            "Good events by day",
            "The share of good events of each day, by objective.",
            (
                (
                    "select d.day::timestamptz as time, s.name || ' ' || slos.name as metric, "
                    "(select sum(x) from unnest(d.good) x) "
                    "/ nullif((select sum(x) from unnest(d.total) x), 0) as value "
                    "from slo_slices d join slos on slos.id = d.slo_id join services s on s.id = slos.service_id "
                    "where d.group_key = '' and $__timeFilter(d.day::timestamptz) order by 1, 2",
                    "",
                ),
            ),
            unit="percentunit",
            source=POSTGRES,
            width=24,
        ),
    )
    return dashboard("reliability-studio-slos", "Reliability Studio: SLOs", "Objectives and error budgets.", panels)


def demo_shop() -> Any:
    """The shop that can be broken."""
    panels = (
        Panel("Up", "1 while it listens.", ((f"up{{{_SHOP}}}", "{{service_name}}"),), kind="stat", width=24, height=4),
        Panel(
            "Requests",
            "By service.",
            ((f"sum by (service_name) (rate({_REQUESTS}_count{{{_SHOP}}}[$__rate_interval]))", "{{service_name}}"),),
            unit="reqps",
        ),
        Panel(
            "Errors",
            "The share of requests that fail.",
            (
                (
                    f"(sum by (service_name) (rate({_REQUESTS}_count{{{_SHOP}, "
                    'http_response_status_code=~"5.."}[$__rate_interval])) '
                    f"or 0 * sum by (service_name) (rate({_REQUESTS}_count{{{_SHOP}}}[$__rate_interval]))) "
                    f"/ sum by (service_name) (rate({_REQUESTS}_count{{{_SHOP}}}[$__rate_interval]))",
                    "{{service_name}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Latency",
            "95th percentile; the dots are traces.",
            (
                (
                    "histogram_quantile(0.95, sum by (service_name, le) "
                    f"(rate({_REQUESTS}_bucket{{{_SHOP}}}[$__rate_interval])))",
                    "{{service_name}}",
                ),
            ),
            unit="s",
            exemplars=True,
        ),
        Panel(
            "Database",
            "95th percentile of statements.",
            (
                (
                    "histogram_quantile(0.95, sum by (service_name, db_query_summary, le) "
                    f"(rate(db_client_operation_duration_seconds_bucket{{{_SHOP}}}[$__rate_interval])))",
                    "{{service_name}} {{db_query_summary}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Calls",
            "Who calls whom.",
            (
                (
                    "sum by (service_name, server_address) "
                    f"(rate(http_client_request_duration_seconds_count{{{_SHOP}}}[$__rate_interval]))",
                    "{{service_name}} → {{server_address}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Memory",
            "In use, of what is allowed.",
            (
                (
                    f"container_memory_working_set_bytes{{{_SHOP}}} / container_spec_memory_limit_bytes{{{_SHOP}}}",
                    "{{service_name}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Versions",
            "What runs.",
            ((f"target_info{{{_SHOP}}}", ""),),
            kind="table",
        ),
        Panel(
            "Service graph",
            "From the traces, by Tempo.",
            (("", ""),),
            kind="nodeGraph",
            source=TEMPO,
        ),
        Panel(
            "Errors in the logs",
            "Each line leads to its trace.",
            (('{service_name=~"$service", level=~"error|fatal"}', ""),),
            kind="logs",
            source=LOKI,
        ),
    )
    services = label_variable("service", 'label_values(up{job="demo-shop"}, service_name)')
    return dashboard("demo-shop", "Demo shop", "Break it, and watch.", panels, [services])


def _stat(title: str, description: str, query: str, unit: str) -> Panel:
    return Panel(title, description, ((query, ""),), kind="stat", unit=unit, source=POSTGRES, width=6, height=4)


BOARDS: Final = {
    "server": server,
    "incidents": incidents,
    "slos": objectives,
    "demo-shop": demo_shop,
}
"""By the names of their files."""
