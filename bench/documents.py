"""What is asked: four queries on the public contract, and what our answers should cost beside those of others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Variables = Mapping[str, Any]

# As in data.sql: incident n starts within the n-th ten minutes after this.
FIRST_INCIDENT_AT = datetime(2025, 1, 1, tzinfo=UTC)
INCIDENT_EVERY = timedelta(minutes=10)
INCIDENTS = 50_000

ONE_INCIDENT = """
query OneIncident($id: ID!) {
  incident(id: $id) { id number title description severity status startedAt resolvedAt }
}
"""

NESTED_LIST = """
query IncidentsWithTimelines {
  incidents(first: 50, orderBy: {field: STARTED_AT, direction: DESC}) {
    nodes {
      id number title severity status startedAt
      services { id name status }
      timeline(last: 5) { nodes { id type occurredAt title } }
    }
  }
}
"""

DASHBOARD = """
query Dashboard {
  incidents(filter: {active: true}, first: 20, orderBy: {field: STARTED_AT, direction: DESC}) {
    nodes { id number title severity status startedAt services { name } }
  }
  services(first: 20, orderBy: {field: NAME, direction: ASC}) { nodes { id name displayName tier status } }
  slos(first: 20, orderBy: {field: NAME, direction: ASC}) {
    nodes { id name objective status service { name } current { sli errorBudgetRemaining } }
  }
}
"""

PAGES = 5
PAGE_SIZE = 200

# A page holds at most 200, so a thousand rows are five pages side by side, told apart by time.
THOUSAND_ROWS = (
    "query ThousandIncidents("
    + ", ".join(f"$before{page}: DateTime!" for page in range(PAGES))
    + ") {"
    + "".join(
        f"""
  page{page}: incidents(
    first: {PAGE_SIZE}, filter: {{startedBefore: $before{page}}}, orderBy: {{field: STARTED_AT, direction: DESC}}
  ) {{
    nodes {{ id number title severity status source startedAt acknowledgedAt resolvedAt version }}
  }}"""
        for page in range(PAGES)
    )
    + "\n}\n"
)


@dataclass(frozen=True, slots=True)
class Targets:
    """What is wanted of our server: multiples of the others' requests/s, and of the bare statement's server CPU."""

    over_orm: float
    over_postgraphile: float
    over_bare_cpu: float


@dataclass(frozen=True, slots=True)
class Document:
    """A query, and the variables that its requests go through in turn."""

    name: str
    query: str
    variables: Sequence[Variables]
    targets: Targets


def documents(incident_ids: Sequence[str]) -> list[Document]:
    """The four queries. `incident_ids`: the incidents that are asked for one at a time."""
    return [
        Document("single row", ONE_INCIDENT, [{"id": id} for id in incident_ids], Targets(30, 3, 1.25)),
        Document("nested list", NESTED_LIST, [{}], Targets(40, 4.5, 1.25)),
        Document("dashboard", DASHBOARD, [{}], Targets(40, 4.5, 1.25)),
        Document(
            "1000 rows", THOUSAND_ROWS, [_pages_before(INCIDENTS - 1000 * k) for k in range(10)], Targets(25, 4, 1.15)
        ),
    ]


def _pages_before(incident: int) -> Variables:
    return {
        f"before{page}": (FIRST_INCIDENT_AT + (incident - PAGE_SIZE * page) * INCIDENT_EVERY).isoformat()
        for page in range(PAGES)
    }


def request_body(query: str, variables: Variables) -> bytes:
    """A GraphQL request as clients post it."""
    return json.dumps({"query": query, "variables": variables}).encode()
