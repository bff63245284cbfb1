"""Rows made up for tests, by table, before they are stored."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Table, insert

from db.database import Transaction
from db.tables import (
    alert_audits,
    alert_deliveries,
    alert_dispositions,
    alert_occurrences,
    alert_suppressions,
    alerts,
    analyses,
    audit_log,
    correlations,
    deployments,
    detection_rules,
    event_log,
    incident_tasks,
    incidents,
    incidents_services,
    investigation_hypotheses,
    investigation_steps,
    maintenance_windows,
    recommendations,
    root_causes,
    service_dependencies,
    services,
    slo_adjustments,
    slo_group_states,
    slo_states,
    slos,
    team_members,
    teams,
    timeline_events,
    users,
)
from tests.resolvers.awkward_values import TIMES

Rows = dict[str, list[dict[str, Any]]]

TABLES: dict[str, Table] = {
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
        alert_occurrences,
        alert_suppressions,
        maintenance_windows,
        alert_deliveries,
        alert_dispositions,
        alert_audits,
        slos,
        slo_states,
        slo_group_states,
        slo_adjustments,
        analyses,
        correlations,
        root_causes,
        recommendations,
        detection_rules,
        event_log,
        audit_log,
    )
}


async def write_rows(tx: Transaction, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Insert rows as they are, table by table."""
    for name, entries in rows.items():
        for entry in entries:
            await tx.execute(insert(TABLES[name]).values(**entry))


def add(made: Rows, chance: random.Random, table: str, values: Iterator[dict[str, Any]]) -> None:
    """Rows of a table, with the ids and times that they do not give."""
    columns = TABLES[table].c
    for entry in values:
        row = dict(entry)
        if "id" in columns and columns.id.identity is None:
            row.setdefault("id", UUID(int=chance.getrandbits(128), version=4))
        for stamp in ("created_at", "updated_at"):
            if stamp in columns:
                row.setdefault(stamp, chance.choice(TIMES))
        made.setdefault(table, []).append(row)


def ids_of(made: Rows, table: str) -> list[UUID]:
    """The ids of a table's rows."""
    return [row["id"] for row in made[table]]


def at(choices: Sequence[Any], position: int) -> Any:
    """One of some choices, all of them in turn."""
    return choices[position % len(choices)]
