"""Objectives, findings and events that are hard to write as JSON."""

import random
from datetime import timedelta
from typing import Any

from sqlalchemy import literal_column

from tests.resolvers.awkward_values import LINKS, NOW, NUMBERS, OBJECTS, RATIOS, TEXTS, TIMES
from tests.resolvers.rows_by_table import Rows, add, at, ids_of


def objectives(made: Rows, chance: random.Random) -> None:
    service = ids_of(made, "services")
    indicators: tuple[dict[str, Any], ...] = (
        {"good": 'sum(rate(x{a="b\\\\c"}[5m]))', "total": "sum(rate(x[5m]))"},
        {"bad": "b", "total": "t", "nested": [1, {"a": None}]},
        {},
    )
    rows = (
        {
            "name": ("availability", "latency 🚨", "availability", 'a "third"')[n],
            "description": at(TEXTS, n),
            "service_id": service[n // 2],
            "objective": ("0.999", "0.5", "0.99900", "0.99999999999999999999")[n],
            "window_days": 30,
            "window_kind": "CALENDAR" if n == 1 else "ROLLING",
            "calendar_unit": "QUARTER" if n == 1 else None,
            "time_zone": "Europe/Berlin" if n == 1 else None,
            "slice_objective": ("1", None)[n % 2],
            "error_budget_policy": [{"status": "EXHAUSTED", "action": 'stop "all"', "url": None}] * (n % 3),
            "indicator_kind": ("RATIO", "LATENCY", "AVAILABILITY", "THRESHOLD")[n],
            "indicator": at(indicators, n),
            "labels": at(OBJECTS, n),
        }
        for n in range(4)
    )
    add(made, chance, "slos", rows)
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
    ids = ids_of(made, "slos")
    states = (
        {
            "slo_id": ids[n],
            "status": ("EXHAUSTED", "HEALTHY", "NO_DATA")[n],
            "measured_at": at(TIMES, n + 2),
            "sli": at((*RATIOS[3:5], None), n),
            "good_events": at((*NUMBERS[2:4], None), n),
            "total_events": at((1e16, 0.0, None), n),
            "error_budget_remaining": at(NUMBERS, n),
            "error_budget_consumed": at(NUMBERS, n + 3),
            "coverage": 1.0,
            "burn_rates": [burn | {"name": f"w{k}", "breached": k == 1} for k in range(2 - n)],
            "budget_exhausts_at": at((None, TIMES[3]), n),
        }
        for n in range(3)
    )
    add(made, chance, "slo_states", states)
    groups = (
        {
            "slo_id": ids[0],
            "group_key": f'{{"team":"{n}"}}',
            "labels": {"team": str(n)},
            "status": ("HEALTHY", "NO_DATA")[n],
            "measured_at": at(TIMES, n),
            "sli": (1.0, None)[n],
            "error_budget_remaining": at(NUMBERS, n + 1),
            "error_budget_consumed": at(NUMBERS, n),
            "coverage": 0.5,
        }
        for n in range(2)
    )
    add(made, chance, "slo_group_states", groups)
    adjustments = (
        {
            "slo_id": ids[n],
            "kind": ("EXCLUSION", "CORRECTION")[n],
            "starts_at": min(TIMES),
            "ends_at": max(TIMES),
            "good_events": (None, 1e9)[n],
            "reason": 'a "reason"',
        }
        for n in range(2)
    )
    add(made, chance, "slo_adjustments", adjustments)


def findings(made: Rows, chance: random.Random) -> None:
    of, service, people = ids_of(made, "incidents"), ids_of(made, "services"), ids_of(made, "users")
    impact = {"incident_id": str(of[0]), "level": "PRIMARY", "source": "DETECTION", "since": "2026-03-01T00:00:00.5Z"}
    impacts = [impact | {"service_id": str(service[1]), "score": 0.25}, impact | {"service_id": str(service[0])}]
    gaps = [{"backend": "TEMPO", "code": "TIMEOUT", "message": TEXTS[3]}]
    runs = (
        {
            "incident_id": of[n // 2],
            "status": ("PARTIAL", "COMPLETE", "RUNNING")[n],
            "is_shown": n != 1,
            "engine_version": "1",
            "started_at": at(TIMES, n),
            "completed_at": None if n == 2 else at(TIMES, n) + timedelta(microseconds=10),
            "confidence": at(RATIOS, n + 3),
            "summary": at(TEXTS, n + 4),
            "impacts": [] if n else impacts,
            "gaps": [] if n else gaps,
        }
        for n in range(3)
    )
    add(made, chance, "analyses", runs)
    run = ids_of(made, "analyses")
    component = {"name": "overlap", "weight": 0.5, "value": 0.3, "explanation": TEXTS[5]}
    found = (
        {
            "incident_id": of[0],
            "analysis_id": run[0] if n < 5 else run[1],
            "kind": ("METRIC", "LOG", "TOPOLOGY")[n % 3],
            "service_id": at((service[0], None), n),
            "summary": at(TEXTS, n + 6),
            "score": at(RATIOS, n // 2),
            "score_components": [component, component | {"name": "ä", "value": 1e-9}][: n % 3],
            "started_at": at((None, *TIMES), n),
            "ended_at": at((*TIMES, None), n),
            "lag_seconds": at((*NUMBERS, None), n),
            "backend": at((None, "PROMETHEUS"), n),
            "query": at((TEXTS[1], None), n),
            "link": at(LINKS, n),
            "evidence": at(OBJECTS, n),
        }
        for n in range(7)
    )
    add(made, chance, "correlations", found)
    evidence = ids_of(made, "correlations")
    causes = (
        {
            "analysis_id": run[0],
            "rank": n + 1,
            "service_id": service[n],
            "kind": ("DEPLOYMENT", "UNKNOWN")[n],
            "score": at(RATIOS, n),
            "confidence": at(RATIOS, n + 2),
            "explanation": at(TEXTS, n + 8),
            "evidence_ids": evidence[: n * 3],
        }
        for n in range(2)
    )
    add(made, chance, "root_causes", causes)
    advice = {"title": TEXTS[2], "rationale": "", "action": TEXTS[7], "evidence_ids": evidence[2:4]}
    add(made, chance, "recommendations", iter([advice | {"analysis_id": run[0], "rank": 1}]))
    thoughts = (
        {
            "incident_id": of[n % 2],
            "title": at(TEXTS, n),
            "description": "",
            "status": ("PROPOSED", "REJECTED", "CONFIRMED")[n],
            "confidence": at(RATIOS, n + 1),
            "is_automatic": n == 1,
            "service_id": at((None, service[2]), n),
            "evidence_ids": [] if n else [evidence[0], evidence[5], of[0]],
            "created_at": TIMES[2],
        }
        for n in range(3)
    )
    add(made, chance, "investigation_hypotheses", thoughts)
    thought = ids_of(made, "investigation_hypotheses")
    steps = (
        {
            "incident_id": of[0],
            "hypothesis_id": at((thought[0], None, thought[2]), n),
            "title": at(TEXTS, n + 5),
            "action": at(TEXTS, n + 1),
            "status": ("PENDING", "COMPLETED", "SKIPPED")[n],
            "findings": at(OBJECTS, n + 3),
            "assignee_id": at((people[0], None), n),
            "completed_at": at(TIMES, n) if n else None,
            "created_at": TIMES[2],
        }
        for n in range(3)
    )
    add(made, chance, "investigation_steps", steps)


def events(made: Rows, chance: random.Random) -> None:
    of, service, people = ids_of(made, "incidents"), ids_of(made, "services"), ids_of(made, "users")
    changes = [
        {"field": "title", "from": TEXTS[1], "to": TEXTS[7]},
        {"field": "labels", "from": OBJECTS[4], "to": {}},
        {"field": "a", "to": 1e300},
        {"field": "b", "from": None, "to": [None]},
    ]
    about = (
        ("INCIDENT_CREATED", of[0], {}),
        ("INCIDENT_UPDATED", of[0], {"changes": changes}),
        ("TIMELINE_EVENT_ADDED", ids_of(made, "timeline_events")[0], {}),
        ("CORRELATION_FOUND", ids_of(made, "correlations")[1], {}),
        ("ANALYSIS_COMPLETED", ids_of(made, "analyses")[0], {}),
        ("HYPOTHESIS_CHANGED", ids_of(made, "investigation_hypotheses")[0], {"changes": changes[2:]}),
        ("STEP_CHANGED", ids_of(made, "investigation_steps")[0], {"changes": []}),
        ("TASK_CHANGED", None, {}),
        ("ALERT_FIRED", ids_of(made, "alerts")[0], {}),
        ("ALERT_RESOLVED", of[0], {}),
        ("SLO_STATUS_CHANGED", ids_of(made, "slos")[0], {"changes": changes[:1]}),
        ("SERVICE_IMPACT_CHANGED", service[0], {"changes": changes[1:2]}),
        ("SERVICE_CHANGED", service[1], {}),
        ("DEPLOYMENT_RECORDED", ids_of(made, "deployments")[0], {}),
    )
    rows = (
        {
            "position": n * 3 + 1,
            "xid": literal_column("'7'::xid8"),
            "seq": n + 1,
            "type": type_,
            "incident_id": at((of[0], None, of[1]), n),
            "service_ids": at(([service[1], service[0]], [], [of[0]]), n),
            "severity": at((None, "HIGH"), n),
            "subject_id": subject,
            "payload": payload,
            "actor_id": at((people[0], None, of[0]), n),
            "occurred_at": at(TIMES, n),
            "recorded_at": NOW,
        }
        for n, (type_, subject, payload) in enumerate(about)
    )
    add(made, chance, "event_log", rows)
