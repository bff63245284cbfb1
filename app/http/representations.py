"""How things look in REST: column names, enums in lower case, times in RFC 3339, other things by name and id."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping


def incident(row: RowMapping) -> dict[str, Any]:
    """An incident, whole. `service` is the one that is hurt first of all."""
    hurt = row["services"]
    names = [service["name"] for service in hurt]
    return {
        **_columns(row, "id", "number", "title", "description", "severity", "status", "source"),
        "service": names[0] if names else None,
        "services": names,
        "service_ids": [service["id"] for service in hurt],
        **_columns(row, "started_at", "detected_at", "acknowledged_at", "mitigated_at", "resolved_at"),
        **_columns(row, "commander", "root_cause", "resolution", "postmortem_url", "labels"),
        **_columns(row, "version", "created_at", "updated_at"),
    }


def timeline_event(row: RowMapping) -> dict[str, Any]:
    """An entry of a timeline."""
    return {
        **_columns(row, "id", "incident_id", "type", "occurred_at", "source", "title", "description"),
        **_columns(row, "severity", "actor", "metadata", "created_at"),
    }


def service(row: RowMapping) -> dict[str, Any]:
    """A service of the catalog."""
    return {
        **_columns(row, "id", "name", "display_name", "description", "tier", "team", "status"),
        **_columns(row, "repository_url", "documentation_url", "runbook_url", "labels", "selectors"),
        **_columns(row, "discovered_at", "version", "created_at", "updated_at"),
    }


def slo(row: RowMapping) -> dict[str, Any]:
    """An SLO. `status` and what follows it are null until it has been evaluated."""
    return {
        **_columns(row, "id", "name", "description", "service", "service_id"),
        "objective": float(row["objective"]),
        **_columns(row, "window_days", "window_kind", "budgeting_method", "indicator_kind", "indicator", "labels"),
        **_columns(row, "status", "measured_at", "sli", "good_events", "total_events"),
        **_columns(row, "error_budget_remaining", "error_budget_consumed", "budget_exhausts_at", "last_error"),
        **_columns(row, "version", "created_at", "updated_at"),
    }


def _columns(row: RowMapping, *names: str) -> dict[str, Any]:
    return {name: _value(row[name]) for name in names}


def _value(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value.lower()
    return str(value) if isinstance(value, UUID) else value
