"""Deliveries of alerts, their firings and what kept them from being told, that are hard to write as JSON."""

import random
from datetime import timedelta

from domain.alerts import AlertDisposition, WebhookKind
from domain.suppressions import SuppressionKind
from tests.resolvers.awkward_values import NOW, NUMBERS, TEXTS, TIMES
from tests.resolvers.rows_by_table import Rows, add, at, ids_of

_COUNTED = (
    "deliveries",
    "received",
    *(each.lower() for each in AlertDisposition),
    "unaccounted",
    "waiting",
    "ungrouped",
)


def deliveries(made: Rows, chance: random.Random) -> None:
    """What webhooks brought, and what became of it."""
    rows = (
        {
            "source": TEXTS[1 + n],
            "kind": at(tuple(WebhookKind), n),
            "received_at": at(TIMES, n // 2),
            "processed_at": at((None, *TIMES), n),
            "body": b"\x00{",
            "alert_count": n,
            "left_out": n // 2,
        }
        for n in range(4)
    )
    add(made, chance, "alert_deliveries", rows)
    told = (
        {
            "delivery_id": ids_of(made, "alert_deliveries")[n % 3],
            "position": n,
            "disposition": at(tuple(AlertDisposition), n),
            "reason": at(TEXTS, n),
            "alert_id": at((None, *ids_of(made, "alerts")), n),
        }
        for n in range(9)
    )
    add(made, chance, "alert_dispositions", told)
    audits = (
        {
            "audited_at": at(TIMES, n),
            **{name: place * (n + 1) for place, name in enumerate(_COUNTED)},
            "oldest_waiting_seconds": at((None, *NUMBERS), n),
        }
        for n in range(2)
    )
    add(made, chance, "alert_audits", audits)


def firings(made: Rows, chance: random.Random) -> None:
    """When alerts fired, and why nobody was told."""
    incidents = ids_of(made, "incidents")
    occurrences = (
        {
            "alert_id": alert,
            "starts_at": NOW - timedelta(hours=m, microseconds=n),
            "ends_at": NOW if m else None,
            "is_over": m > 0,
            "has_fired": m < 2,
            "incident_id": at((incidents[0], incidents[1], None), n + m),
        }
        for n, alert in enumerate(ids_of(made, "alerts"))
        for m in range(n % 3 + 1)
    )
    add(made, chance, "alert_occurrences", occurrences)
    suppressions = (
        {
            "alert_id": ids_of(made, "alerts")[n // 2],
            "kind": at(tuple(SuppressionKind), n),
            "by": TEXTS[1 + n],
            "reason": at(TEXTS, n + 1),
            "starts_at": TIMES[n],
            "ends_at": at((None, NOW), n),
        }
        for n in range(4)
    )
    add(made, chance, "alert_suppressions", suppressions)
    matchers = [{"name": 'a"b', "value": "x|\\d", "isRegex": True, "isEqual": False}]
    windows = (
        {
            "title": TEXTS[1 + n],
            "service_id": at((None, *ids_of(made, "services")), n),
            "matchers": matchers * (n % 2),
            "starts_at": NOW - timedelta(hours=2 + n),
            "ends_at": NOW + timedelta(hours=n - 1),
            "created_by_id": at((None, *ids_of(made, "users")), n),
        }
        for n in range(4)
    )
    add(made, chance, "maintenance_windows", windows)
