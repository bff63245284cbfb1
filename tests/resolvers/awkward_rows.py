"""Rows that are hard to write as JSON, to sort and to page through: small in number, and the same in every run."""

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, insert

from db.database import Transaction
from db.tables import (
    alerts,
    analyses,
    correlations,
    deployments,
    detection_rules,
    incident_tasks,
    incidents,
    incidents_services,
    investigation_hypotheses,
    investigation_steps,
    recommendations,
    root_causes,
    service_dependencies,
    services,
    slo_states,
    slos,
    team_members,
    teams,
    timeline_events,
    users,
)

NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
TEXTS = (
    "The checkout is down",
    'double "quotes" and a trailing backslash \\',
    "single 'quotes', '' and $1 :x %s %(x)s {it} {parent} {{}}",
    "back\\slash, \\n and \\u0041 as written",
    "line\nfeed, carriage\r\nreturn, tab\t, form\ffeed",
    "control \x01\x02\x08\x1b\x1f\x7f\x80 characters",
    "separators \u2028 \u2029, bom \ufeff, last of the plane \uffff",
    "🚨 emoji 👩‍🚒 beyond the plane \U0010ffff",
    "ünïcödé, 漢字, עברית, e\u0301",
    "</script><!-- & --> null true [] {}",
    "  spaces around  ",
    "x",
)
OBJECTS: tuple[dict[str, Any], ...] = (
    {},
    {"team": "payments", "env": "prod"},
    {"env": "prod"},
    {"env": "pröd 🚨", 'quo"te': "back\\slash", "": "the empty key", "a b": "line\nfeed \x01"},
    {"nested": {"list": [1, -2.5, None, True, [], {}, [[["deep"]]], {"deeper": {"deepest": "\u2028"}}]}},
    {"big": 12345678901234567890, "tiny": 1e-300, "negative": -0.1, "zero": 0, "exponent": 1.5e300, "null": None},
)
TIMES = (
    NOW - timedelta(days=30),
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 0, 120000, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 0, 123450, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 10, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)
RATIOS = (0.0, 1.0, 0.5, 1e-300, 0.1 + 0.2, 0.9999999999999999)
NUMBERS = (-1e308, -0.0, 5e-324, 3.141592653589793, 1e16, -12.5, 100.0)
LINKS = ("https://example.org/a?b=c&d='e'\"f\"#g", "http://例え.jp/\\x", None)

Rows = dict[str, list[dict[str, Any]]]


def awkward_rows() -> Rows:
    """The rows of every table that the schema reads, by table, each table after those it points to."""
    made: Rows = {}
    chance = random.Random(31415)  # noqa: S311  # the same rows in every run
    for maker in (_people, _catalog, _incidents, _work, _signals, _objectives, _findings):
        maker(made, chance)
    return made


async def write_rows(tx: Transaction, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Insert rows as they are."""
    for name, entries in rows.items():
        for entry in entries:
            await tx.execute(insert(_TABLES[name]).values(**entry))


_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        teams,
        users,
        team_members,
        services,
        service_dependencies,
        deployments,
        incidents,
        incidents_services,
        incident_tasks,
        investigation_hypotheses,
        investigation_steps,
        timeline_events,
        alerts,
        slos,
        slo_states,
        analyses,
        correlations,
        root_causes,
        recommendations,
        detection_rules,
    )
}


def _add(made: Rows, chance: random.Random, table: str, values: Iterator[dict[str, Any]]) -> None:
    columns = _TABLES[table].c
    for entry in values:
        row = dict(entry)
        if "id" in columns:
            row.setdefault("id", UUID(int=chance.getrandbits(128), version=4))
        for stamp in ("created_at", "updated_at"):
            if stamp in columns:
                row.setdefault(stamp, chance.choice(TIMES))
        made.setdefault(table, []).append(row)


def _ids(made: Rows, table: str) -> list[UUID]:
    return [row["id"] for row in made[table]]


def _at(choices: Sequence[Any], position: int) -> Any:
    return choices[position % len(choices)]


def _people(made: Rows, chance: random.Random) -> None:
    _add(made, chance, "teams", ({"name": _at(TEXTS, n), "description": _at(TEXTS, n + 3)} for n in range(3)))
    _add(made, chance, "users", ({"name": _at(TEXTS, n + 7), "email": f"u{n}'\"@example.org"} for n in range(3)))
    team, people = _ids(made, "teams"), _ids(made, "users")
    pairs = [(team[0], people[0]), (team[0], people[1]), (team[1], people[0])]
    members = ({"team_id": of, "user_id": who, "since": NOW} for of, who in pairs)
    _add(made, chance, "team_members", members)


def _catalog(made: Rows, chance: random.Random) -> None:
    team = _ids(made, "teams")
    selectors = ({}, {"prometheus": {"job": 'a"\\b'}, "loki": {"app": "🚨"}, "tempo": "T\n"}, {"tempo": "x"})
    statuses = ("HEALTHY", "DOWN", "DOWN", "UNKNOWN", "DEGRADED")
    rows = (
        {
            "name": f"{_at(TEXTS, n)}-{n}",
            "display_name": _at(TEXTS, n + 5),
            "description": "" if n == 1 else _at(TEXTS, n + 2),
            "tier": (None, 1, 3, 1, None)[n],
            "team_id": (team[0], None, team[0], team[1], None)[n],
            "status": statuses[n],
            "repository_url": _at(LINKS, n),
            "documentation_url": _at(LINKS, n + 1),
            "labels": _at(OBJECTS, n),
            "selectors": _at(selectors, n),
            "discovered_at": None if n % 2 else _at(TIMES, n),
        }
        for n in range(5)
    )
    _add(made, chance, "services", rows)
    ids = _ids(made, "services")
    edges = ((0, 1), (0, 2), (1, 2), (2, 0))
    dependencies = (
        {
            "service_id": ids[here],
            "depends_on_id": ids[there],
            "source": "TRACES" if here else "DECLARED",
            "last_seen_at": _at(TIMES, here) if here else None,
            "request_rate": _at(NUMBERS, there) if there else None,
            "error_ratio": _at(RATIOS, there) if there else None,
        }
        for here, there in edges
    )
    _add(made, chance, "service_dependencies", dependencies)
    outcomes = ("SUCCEEDED", "IN_PROGRESS", "ROLLED_BACK", "FAILED")
    changes = (
        {
            "service_id": ids[n % 2],
            "version": _at(TEXTS, n),
            "commit": None if n % 2 else f"c{n}'\"\\",
            "environment": "prod",
            "description": _at(TEXTS, n + 1) if n else "",
            "outcome": _at(outcomes, n),
            "url": _at(LINKS, n),
            "started_at": _at(TIMES, n // 2),
            "finished_at": None if _at(outcomes, n) == "IN_PROGRESS" else NOW,
        }
        for n in range(6)
    )
    _add(made, chance, "deployments", changes)


def _incidents(made: Rows, chance: random.Random) -> None:
    people, service = _ids(made, "users"), _ids(made, "services")
    rows = []
    for n in range(9):
        status = ("OPEN", "INVESTIGATING", "MITIGATED", "RESOLVED")[n % 4]
        start = _at(TIMES, n // 2)  # In pairs, so that the order by time has ties.
        rows.append(
            {
                "number": n + 1,
                "title": _at(TEXTS, n),
                "description": "" if n == 2 else _at(TEXTS, n + 4),
                "severity": ("LOW", "CRITICAL", "HIGH")[n % 3],
                "status": status,
                "source": ("MANUAL", "ALERT", "API", "DETECTION")[n % 4],
                "started_at": start,
                "detected_at": start + timedelta(microseconds=100) if n % 2 else None,
                "acknowledged_at": start + timedelta(seconds=1.5) if status in {"INVESTIGATING", "RESOLVED"} else None,
                "mitigated_at": start + timedelta(days=1) if status == "MITIGATED" else None,
                "resolved_at": start + timedelta(microseconds=1) if status == "RESOLVED" else None,
                "commander_id": _at((None, *people), n),
                "root_cause": _at(TEXTS, n + 6) if n % 3 == 0 else None,
                "resolution": "" if n % 3 == 1 else None,
                "postmortem_url": _at(LINKS, n),
                "labels": _at(OBJECTS, n),
                "updated_at": _at(TIMES, n % 3),
            }
        )
    _add(made, chance, "incidents", iter(rows))
    of = _ids(made, "incidents")
    hurt = [(0, 0), (0, 1), (1, 0), (2, 3), (2, 0), (2, 1), (4, 0), (6, 2), (7, 0)]
    impacts = (
        {
            "incident_id": of[incident],
            "service_id": service[which],
            "level": ("PRIMARY", "SUSPECTED", "PRIMARY", "SECONDARY")[which],
            "source": "API" if incident else "DETECTION",
            "score": None if which else _at(RATIOS, incident),
            "since": _at(TIMES, incident),
        }
        for incident, which in hurt
    )
    _add(made, chance, "incidents_services", impacts)
    kinds = ("NOTE", "DETECTED", "STATUS_CHANGE", "LOG_ANOMALY")
    events = (
        {
            "incident_id": of[n % 3],
            "type": _at(kinds, n),
            "occurred_at": _at(TIMES, n // 6),
            "source": _at(TEXTS, n + 1),
            "title": _at(TEXTS, n + 2),
            "description": _at(TEXTS, n) if n % 2 else "",
            "severity": _at((None, "LOW", "CRITICAL"), n),
            "actor_id": _at((*people, None), n),
            "metadata": _at(OBJECTS, n),
        }
        for n in range(14)
    )
    _add(made, chance, "timeline_events", events)


def _work(made: Rows, chance: random.Random) -> None:
    of, people = _ids(made, "incidents"), _ids(made, "users")
    tasks = (
        {
            "incident_id": of[n % 2],
            "title": _at(TEXTS, n + 3),
            "description": "",
            "status": ("OPEN", "DONE", "CANCELLED")[n],
            "assignee_id": _at((None, *people), n),
            "due_at": _at((None, *TIMES), n),
            "completed_at": _at(TIMES, n) if n else None,
        }
        for n in range(3)
    )
    _add(made, chance, "incident_tasks", tasks)


def _signals(made: Rows, chance: random.Random) -> None:
    of, service = _ids(made, "incidents"), _ids(made, "services")
    rows = (
        {
            "name": _at(TEXTS, n // 2),
            "fingerprint": f"f{n}\\'\"",
            "status": "RESOLVED" if n % 2 else "FIRING",
            "severity": ("LOW", "HIGH", "HIGH", "CRITICAL")[n % 4],
            "labels": _at(OBJECTS, n),
            "annotations": _at(OBJECTS, n + 3),
            "starts_at": _at(TIMES, n // 3),
            "ends_at": NOW + timedelta(milliseconds=10) if n % 2 else None,
            "generator_url": _at(LINKS, n),
            "source": _at(TEXTS, n),
            "service_id": _at((service[0], None, service[1]), n),
            "incident_id": _at((of[0], of[1], None, of[0]), n),
            "occurrences": n + 1,
        }
        for n in range(8)
    )
    _add(made, chance, "alerts", rows)
    rules = (
        {
            "name": f"{_at(TEXTS, n)} {n}",
            "description": _at(TEXTS, n + 1),
            "kind": ("THRESHOLD", "ABSENCE", "SEASONAL", "SLO_BURN")[n],
            "is_enabled": n % 2 == 0,
            "signal": _at((None, "LATENCY_P95"), n),
            "query": _at((TEXTS[1], None), n),
            "comparison": _at(("ABOVE", None), n),
            "threshold": _at((*NUMBERS, None), n * 3),
            "for_seconds": n * 60,
            "severity": "HIGH",
            "service_id": _at((None, service[0]), n),
            "labels": _at(OBJECTS, n),
            "parameters": _at(OBJECTS, n + 4),
            "last_evaluated_at": _at((None, *TIMES), n),
            "last_error": _at((None, TEXTS[4]), n),
            "failing_since": _at((None, TIMES[3]), n),
        }
        for n in range(4)
    )
    _add(made, chance, "detection_rules", rules)


def _objectives(made: Rows, chance: random.Random) -> None:
    service = _ids(made, "services")
    indicators: tuple[dict[str, Any], ...] = (
        {"good": 'sum(rate(x{a="b\\\\c"}[5m]))', "total": "sum(rate(x[5m]))"},
        {"bad": "b", "total": "t", "nested": [1, {"a": None}]},
        {},
    )
    rows = (
        {
            "name": ("availability", "latency 🚨", "availability", 'a "third"')[n],
            "description": _at(TEXTS, n),
            "service_id": service[n // 2],
            "objective": ("0.999", "0.5", "0.99900", "0.99999999999999999999")[n],
            "window_days": 30,
            "window_kind": "CALENDAR" if n == 1 else "ROLLING",
            "indicator_kind": ("RATIO", "LATENCY", "AVAILABILITY", "THRESHOLD")[n],
            "indicator": _at(indicators, n),
            "labels": _at(OBJECTS, n),
        }
        for n in range(4)
    )
    _add(made, chance, "slos", rows)
    burn = {
        "name": 'fast "1h"',
        "long_window_seconds": 3600,
        "short_window_seconds": 300,
        "long_rate": 14.4,
        "short_rate": None,
        "threshold": 1e-9,
        "breached": True,
        "response": "PAGE",
    }
    ids = _ids(made, "slos")
    states = (
        {
            "slo_id": ids[n],
            "status": ("EXHAUSTED", "HEALTHY", "NO_DATA")[n],
            "measured_at": _at(TIMES, n + 2),
            "sli": _at((*RATIOS[3:5], None), n),
            "good_events": _at((*NUMBERS[2:4], None), n),
            "total_events": _at((1e16, 0.0, None), n),
            "error_budget_remaining": _at(NUMBERS, n),
            "error_budget_consumed": _at(NUMBERS, n + 3),
            "coverage": 1.0,
            "burn_rates": [burn | {"name": f"w{k}", "breached": k == 1} for k in range(2 - n)],
            "budget_exhausts_at": _at((None, TIMES[3]), n),
        }
        for n in range(3)
    )
    _add(made, chance, "slo_states", states)


def _findings(made: Rows, chance: random.Random) -> None:
    of, service, people = _ids(made, "incidents"), _ids(made, "services"), _ids(made, "users")
    impact = {"incident_id": str(of[0]), "level": "PRIMARY", "source": "DETECTION", "since": "2026-03-01T00:00:00.5Z"}
    impacts = [impact | {"service_id": str(service[1]), "score": 0.25}, impact | {"service_id": str(service[0])}]
    gaps = [{"backend": "TEMPO", "code": "TIMEOUT", "message": TEXTS[3]}]
    runs = (
        {
            "incident_id": of[n // 2],
            "status": ("PARTIAL", "COMPLETE", "RUNNING")[n],
            "is_shown": n != 1,
            "engine_version": "1",
            "started_at": _at(TIMES, n),
            "completed_at": None if n == 2 else _at(TIMES, n) + timedelta(microseconds=10),
            "confidence": _at(RATIOS, n + 3),
            "summary": _at(TEXTS, n + 4),
            "impacts": [] if n else impacts,
            "gaps": [] if n else gaps,
        }
        for n in range(3)
    )
    _add(made, chance, "analyses", runs)
    run = _ids(made, "analyses")
    component = {"name": "overlap", "weight": 0.5, "value": 0.3, "explanation": TEXTS[5]}
    found = (
        {
            "incident_id": of[0],
            "analysis_id": run[0] if n < 5 else run[1],
            "kind": ("METRIC", "LOG", "TOPOLOGY")[n % 3],
            "service_id": _at((service[0], None), n),
            "summary": _at(TEXTS, n + 6),
            "score": _at(RATIOS, n // 2),
            "score_components": [component, component | {"name": "ä", "value": 1e-9}][: n % 3],
            "started_at": _at((None, *TIMES), n),
            "ended_at": _at((*TIMES, None), n),
            "lag_seconds": _at((*NUMBERS, None), n),
            "backend": _at((None, "PROMETHEUS"), n),
            "query": _at((TEXTS[1], None), n),
            "link": _at(LINKS, n),
            "evidence": _at(OBJECTS, n),
        }
        for n in range(7)
    )
    _add(made, chance, "correlations", found)
    evidence = _ids(made, "correlations")
    causes = (
        {
            "analysis_id": run[0],
            "rank": n + 1,
            "service_id": service[n],
            "kind": ("DEPLOYMENT", "UNKNOWN")[n],
            "score": _at(RATIOS, n),
            "confidence": _at(RATIOS, n + 2),
            "explanation": _at(TEXTS, n + 8),
            "evidence_ids": evidence[: n * 3],
        }
        for n in range(2)
    )
    _add(made, chance, "root_causes", causes)
    advice = {"title": TEXTS[2], "rationale": "", "action": TEXTS[7], "evidence_ids": evidence[2:4]}
    _add(made, chance, "recommendations", iter([advice | {"analysis_id": run[0], "rank": 1}]))
    thoughts = (
        {
            "incident_id": of[n % 2],
            "title": _at(TEXTS, n),
            "description": "",
            "status": ("PROPOSED", "REJECTED", "CONFIRMED")[n],
            "confidence": _at(RATIOS, n + 1),
            "is_automatic": n == 1,
            "service_id": _at((None, service[2]), n),
            "evidence_ids": [] if n else [evidence[0], evidence[5], of[0]],
            "created_at": TIMES[2],
        }
        for n in range(3)
    )
    _add(made, chance, "investigation_hypotheses", thoughts)
    thought = _ids(made, "investigation_hypotheses")
    steps = (
        {
            "incident_id": of[0],
            "hypothesis_id": _at((thought[0], None, thought[2]), n),
            "title": _at(TEXTS, n + 5),
            "action": _at(TEXTS, n + 1),
            "status": ("PENDING", "COMPLETED", "SKIPPED")[n],
            "findings": _at(OBJECTS, n + 3),
            "assignee_id": _at((people[0], None), n),
            "completed_at": _at(TIMES, n) if n else None,
            "created_at": TIMES[2],
        }
        for n in range(3)
    )
    _add(made, chance, "investigation_steps", steps)
