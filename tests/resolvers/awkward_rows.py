"""Rows that are hard to write as JSON, to sort and to page through: small in number, and the same in every run."""

import random
from datetime import timedelta

from tests.resolvers.awkward_alerts import deliveries, firings
from tests.resolvers.awkward_findings import events, findings, objectives
from tests.resolvers.awkward_values import LINKS, NOW, NUMBERS, OBJECTS, RATIOS, TEXTS, TIMES
from tests.resolvers.rows_by_table import Rows, add, at, ids_of


def awkward_rows() -> Rows:
    """The rows of every table that the schema reads, by table, each table after those it points to."""
    made: Rows = {}
    chance = random.Random(31415)  # noqa: S311  # the same rows in every run
    makers = (_people, _catalog, _incidents, _work, _signals, firings, deliveries, objectives, findings, events, _audit)
    for maker in makers:
        maker(made, chance)
    return made


def _audit(made: Rows, chance: random.Random) -> None:
    entries = (
        {
            "occurred_at": at(TIMES, n // 2),
            "actor_id": at((None, *ids_of(made, "users")), n),
            "actor_name": TEXTS[1 + n],
            "action": at(("incident.create", "incident.resolve", TEXTS[1]), n),
            "subject_type": at(("incident", TEXTS[2]), n),
            "subject_id": at((None, *ids_of(made, "incidents")), n),
            "before": at((None, *OBJECTS), n),
            "after": at((*OBJECTS, None), n),
            "request_id": at((None, *TEXTS), n),
            "address": at((None, "192.0.2.7"), n),
        }
        for n in range(6)
    )
    add(made, chance, "audit_log", entries)


def _people(made: Rows, chance: random.Random) -> None:
    add(made, chance, "teams", ({"name": at(TEXTS, n), "description": at(TEXTS, n + 3)} for n in range(3)))
    add(made, chance, "users", ({"name": at(TEXTS, n + 7), "email": f"u{n}'\"@example.org"} for n in range(3)))
    team, people = ids_of(made, "teams"), ids_of(made, "users")
    pairs = [(team[0], people[0]), (team[0], people[1]), (team[1], people[0])]
    members = ({"team_id": of, "user_id": who, "since": NOW} for of, who in pairs)
    add(made, chance, "team_members", members)


def _catalog(made: Rows, chance: random.Random) -> None:
    team = ids_of(made, "teams")
    selectors = ({}, {"prometheus": {"job": 'a"\\b'}, "loki": {"app": "🚨"}, "tempo": "T\n"}, {"tempo": "x"})
    statuses = ("HEALTHY", "DOWN", "DOWN", "UNKNOWN", "DEGRADED")
    rows = (
        {
            "name": f"{at(TEXTS, n)}-{n}",
            "display_name": at(TEXTS, n + 5),
            "description": "" if n == 1 else at(TEXTS, n + 2),
            "tier": (None, 1, 3, 1, None)[n],
            "team_id": (team[0], None, team[0], team[1], None)[n],
            "status": statuses[n],
            "repository_url": at(LINKS, n),
            "documentation_url": at(LINKS, n + 1),
            "labels": at(OBJECTS, n),
            "selectors": at(selectors, n),
            "telemetry_instances": at(({}, {"prometheus": "eu", "tempo": "eu"}, {"prometheus": None}), n),
            "discovered_at": None if n % 2 else at(TIMES, n),
        }
        for n in range(5)
    )
    add(made, chance, "services", rows)
    ids = ids_of(made, "services")
    edges = ((0, 1), (0, 2), (1, 2), (2, 0))
    dependencies = (
        {
            "service_id": ids[here],
            "depends_on_id": ids[there],
            "source": "TRACES" if here else "DECLARED",
            "last_seen_at": at(TIMES, here) if here else None,
            "request_rate": at(NUMBERS, there) if there else None,
            "error_ratio": at(RATIOS, there) if there else None,
            "latency_p95_seconds": at(NUMBERS, here) if there else None,
        }
        for here, there in edges
    )
    add(made, chance, "service_dependencies", dependencies)
    outcomes = ("SUCCEEDED", "IN_PROGRESS", "ROLLED_BACK", "FAILED")
    changes = (
        {
            "service_id": ids[n % 2],
            "version": at(TEXTS, n),
            "commit": None if n % 2 else f"c{n}'\"\\",
            "environment": "prod",
            "description": at(TEXTS, n + 1) if n else "",
            "outcome": at(outcomes, n),
            "url": at(LINKS, n),
            "started_at": at(TIMES, n // 2),
            "finished_at": None if at(outcomes, n) == "IN_PROGRESS" else NOW,
        }
        for n in range(6)
    )
    add(made, chance, "deployments", changes)


def _incidents(made: Rows, chance: random.Random) -> None:
    people, service = ids_of(made, "users"), ids_of(made, "services")
    rows = []
    for n in range(9):
        status = ("OPEN", "INVESTIGATING", "MITIGATED", "RESOLVED")[n % 4]
        start = at(TIMES, n // 2)  # In pairs, so that the order by time has ties.
        rows.append(
            {
                "number": n + 1,
                "title": at(TEXTS, n),
                "description": "" if n == 2 else at(TEXTS, n + 4),
                "severity": ("LOW", "CRITICAL", "HIGH")[n % 3],
                "status": status,
                "source": ("MANUAL", "ALERT", "API", "DETECTION")[n % 4],
                "started_at": start,
                "detected_at": start + timedelta(microseconds=100) if n % 2 else None,
                "acknowledged_at": start + timedelta(seconds=1.5) if status in {"INVESTIGATING", "RESOLVED"} else None,
                "mitigated_at": start + timedelta(days=1) if status == "MITIGATED" else None,
                "resolved_at": start + timedelta(microseconds=1) if status == "RESOLVED" else None,
                "commander_id": at((None, *people), n),
                "root_cause": at(TEXTS, n + 6) if n % 3 == 0 else None,
                "resolution": "" if n % 3 == 1 else None,
                "postmortem_url": at(LINKS, n),
                "labels": at(OBJECTS, n),
                "updated_at": at(TIMES, n % 3),
            }
        )
    add(made, chance, "incidents", iter(rows))
    of = ids_of(made, "incidents")
    hurt = [(0, 0), (0, 1), (1, 0), (2, 3), (2, 0), (2, 1), (4, 0), (6, 2), (7, 0)]
    impacts = (
        {
            "incident_id": of[incident],
            "service_id": service[which],
            "level": ("PRIMARY", "SUSPECTED", "PRIMARY", "SECONDARY")[which],
            "source": "API" if incident else "DETECTION",
            "score": None if which else at(RATIOS, incident),
            "since": at(TIMES, incident),
        }
        for incident, which in hurt
    )
    add(made, chance, "incidents_services", impacts)
    kinds = ("NOTE", "DETECTED", "STATUS_CHANGE", "LOG_ANOMALY")
    events = (
        {
            "incident_id": of[n % 3],
            "type": at(kinds, n),
            "occurred_at": at(TIMES, n // 6),
            "source": at(TEXTS, n + 1),
            "title": at(TEXTS, n + 2),
            "description": at(TEXTS, n) if n % 2 else "",
            "severity": at((None, "LOW", "CRITICAL"), n),
            "actor_id": at((*people, None), n),
            "metadata": at(OBJECTS, n),
        }
        for n in range(14)
    )
    add(made, chance, "timeline_events", events)


def _work(made: Rows, chance: random.Random) -> None:
    of, people = ids_of(made, "incidents"), ids_of(made, "users")
    tasks = (
        {
            "incident_id": of[n % 2],
            "title": at(TEXTS, n + 3),
            "description": "",
            "status": ("OPEN", "DONE", "CANCELLED")[n],
            "assignee_id": at((None, *people), n),
            "due_at": at((None, *TIMES), n),
            "completed_at": at(TIMES, n) if n else None,
        }
        for n in range(3)
    )
    add(made, chance, "incident_tasks", tasks)


def _signals(made: Rows, chance: random.Random) -> None:
    of, service = ids_of(made, "incidents"), ids_of(made, "services")
    rows = (
        {
            "name": at(TEXTS, n // 2),
            "fingerprint": f"f{n}\\'\"",
            "status": "RESOLVED" if n % 2 else "FIRING",
            "severity": ("LOW", "HIGH", "HIGH", "CRITICAL")[n % 4],
            "labels": at(OBJECTS, n),
            "annotations": at(OBJECTS, n + 3),
            "starts_at": at(TIMES, n // 3),
            "ends_at": NOW + timedelta(milliseconds=10) if n % 2 else None,
            "generator_url": at(LINKS, n),
            "source": at(TEXTS, n),
            "service_id": at((service[0], None, service[1]), n),
            "incident_id": at((of[0], of[1], None, of[0]), n),
            "occurrences": n + 1,
        }
        for n in range(8)
    )
    add(made, chance, "alerts", rows)
    rules = (
        {
            "name": f"{at(TEXTS, n)} {n}",
            "description": at(TEXTS, n + 1),
            "kind": ("THRESHOLD", "ABSENCE", "SEASONAL", "SLO_BURN")[n],
            "is_enabled": n % 2 == 0,
            "signal": at((None, "LATENCY_P95"), n),
            "query": at((TEXTS[1], None), n),
            "comparison": at(("ABOVE", None), n),
            "threshold": at((*NUMBERS, None), n * 3),
            "for_seconds": n * 60,
            "severity": "HIGH",
            "service_id": at((None, service[0]), n),
            "labels": at(OBJECTS, n),
            "parameters": at(OBJECTS, n + 4),
            "last_evaluated_at": at((None, *TIMES), n),
            "last_error": at((None, TEXTS[4]), n),
            "failing_since": at((None, TIMES[3]), n),
        }
        for n in range(4)
    )
    add(made, chance, "detection_rules", rules)
