"""PostGraphile 5 from npm: how it is started, the queries in its naming, its answers in the contract's shape."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.documents import (
    DASHBOARD,
    NESTED_LIST,
    ONE_INCIDENT,
    PAGE_SIZE,
    PAGES,
    THOUSAND_ROWS,
    Document,
    Variables,
    request_body,
)

HERE = Path(__file__).parent
_NODE = HERE / "node_modules" / ".bin" / "node"

_QUERIES = {
    ONE_INCIDENT: """
query OneIncident($id: UUID!) {
  incident: incidentByRowId(rowId: $id) { id: rowId number title description severity status startedAt resolvedAt }
}
""",
    NESTED_LIST: """
query IncidentsWithTimelines {
  incidents: allIncidents(first: 50, orderBy: [STARTED_AT_DESC, ROW_ID_DESC]) {
    nodes {
      id: rowId number title severity status startedAt
      services: incidentsServicesByIncidentId { nodes { service: serviceByServiceId { id: rowId name status } } }
      timeline: timelineEventsByIncidentId(first: 5, orderBy: [OCCURRED_AT_DESC, ROW_ID_DESC]) {
        nodes { id: rowId type occurredAt title }
      }
    }
  }
}
""",
    DASHBOARD: """
query Dashboard {
  incidents: allIncidents(condition: {active: true}, first: 20, orderBy: [STARTED_AT_DESC, ROW_ID_DESC]) {
    nodes {
      id: rowId number title severity status startedAt
      services: incidentsServicesByIncidentId { nodes { service: serviceByServiceId { name } } }
    }
  }
  services: allServices(first: 20, orderBy: [NAME_ASC, ROW_ID_ASC]) {
    nodes { id: rowId name displayName tier status }
  }
  slos: allSlos(first: 20, orderBy: [NAME_ASC, ROW_ID_ASC]) {
    nodes {
      id: rowId name objective
      service: serviceByServiceId { name }
      state: sloStateBySloId { status sli errorBudgetRemaining }
    }
  }
}
""",
    THOUSAND_ROWS: "query ThousandIncidents("
    + ", ".join(f"$before{page}: Datetime!" for page in range(PAGES))
    + ") {"
    + "".join(
        f"""
  page{page}: allIncidents(
    first: {PAGE_SIZE}, condition: {{startedBefore: $before{page}}}, orderBy: [STARTED_AT_DESC, ROW_ID_DESC]
  ) {{
    nodes {{ id: rowId number title severity status source startedAt acknowledgedAt resolvedAt version }}
  }}"""
        for page in range(PAGES)
    )
    + "\n}\n",
}


def install() -> None:
    """Install it, and the Node.js that it needs, beside this file. Raises CalledProcessError, FileNotFoundError."""
    if _NODE.exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is missing, which installs PostGraphile")
    subprocess.run([npm, "ci", "--loglevel", "error"], cwd=HERE, check=True)


def command(port: int, database_url: str) -> Sequence[str]:
    """How it is started."""
    # The node that npm puts here is Node 22, which PostGraphile needs; the machine's may be older.
    return [str(_NODE), str(HERE / "server.mjs"), str(port), database_url.replace("postgres:@", "postgres@")]


def body(document: Document, variables: Variables) -> bytes:
    """A request for the same in PostGraphile's naming."""
    return request_body(_QUERIES[document.query], variables)


def contract_shape(document: Document, data: Any) -> Any:
    """An answer of PostGraphile's as the contract shapes it."""
    if document.query == NESTED_LIST:
        for incident in data["incidents"]["nodes"]:
            _unwrap_services(incident)
            incident["timeline"]["nodes"].reverse()
    if document.query == DASHBOARD:
        for incident in data["incidents"]["nodes"]:
            _unwrap_services(incident)
        for slo in data["slos"]["nodes"]:
            state = slo.pop("state")
            slo["status"] = state.pop("status")
            slo["current"] = state
            slo["objective"] = float(slo["objective"])  # a BigFloat, which PostGraphile writes as a string
    return data


def _unwrap_services(incident: Any) -> None:
    incident["services"] = [impact["service"] for impact in incident["services"]["nodes"]]
