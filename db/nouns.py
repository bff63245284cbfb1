"""What people call one row of a table."""

from sqlalchemy import Table

_IRREGULAR = {
    "analyses": "analysis",
    "api_tokens": "API token",
    "incident_tasks": "task",
    "investigation_hypotheses": "hypothesis",
    "investigation_steps": "step",
    "service_dependencies": "dependency",
    "slos": "SLO",
    "timeline_events": "timeline event",
}


def noun(table: Table) -> str:
    """The word for one row: "incident", "detection rule", "SLO"."""
    return _IRREGULAR.get(table.name) or table.name.removesuffix("s").replace("_", " ")
