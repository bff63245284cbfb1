"""What holds for every mutation."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from db.database import Database
from domain.access import Role
from tests.postgres import run_sql

RESOLVE = "mutation($id: ID!) { resolveIncident(id: $id) { incident { status } errors { code } } }"


async def test_mutations_of_one_document_happen_in_order_each_in_a_transaction_of_its_own(api, incident):
    document = """
      mutation($id: ID!) {
        first: acknowledgeIncident(id: $id) { incident { status version } ...Errors }
        again: acknowledgeIncident(id: $id) { incident { status version } errors { ...Conflict message } }
        wrong: addTimelineNote(incidentId: $id, text: "") { timelineEvent { id } errors { __typename path } }
        note: addTimelineNote(incidentId: $id, text: "On it") {
          timelineEvent { title incident { status version } }
          errors { __typename }
        }
        last: mitigateIncident(id: $id) { incident { status version } ...Errors }
      }
      fragment Errors on IncidentPayload { errors { message } }
      fragment Conflict on ConflictError { __typename code currentVersion }
    """
    assert await api(document, id=incident) == {
        "data": {
            "first": {"incident": {"status": "INVESTIGATING", "version": 2}, "errors": []},
            "again": {
                "incident": None,
                "errors": [
                    {
                        "__typename": "ConflictError",
                        "code": "CONFLICT",
                        "currentVersion": 2,
                        "message": "The incident is acknowledged already",
                    }
                ],
            },
            "wrong": {"timelineEvent": None, "errors": [{"__typename": "ValidationError", "path": ["text"]}]},
            "note": {
                "timelineEvent": {"title": "On it", "incident": {"status": "INVESTIGATING", "version": 2}},
                "errors": [],
            },
            "last": {"incident": {"status": "MITIGATED", "version": 3}, "errors": []},
        }
    }


async def test_a_payload_can_be_asked_for_anything_that_a_query_can(api, incident, ada):
    document = """
      mutation($input: CreateTaskInput!, $some: Int = 1, $no: Boolean = false) {
        __typename
        createTask(input: $input) {
          __typename
          ...Created
          errors @include(if: $no) { message }
        }
      }
      fragment Created on TaskPayload {
        task {
          name: title
          owner: assignee { name }
          ... on Node { __typename }
          skipped: id @include(if: $no)
          incident {
            services { name incidents(filter: { active: true }) { totalCount nodes { title } } }
            latest: timeline(last: $some) { pageInfo { hasPreviousPage } edges { node { title type } } }
            metrics { name }
          }
        }
      }
    """
    answer = await api(document, input={"incidentId": incident, "title": "Renew it", "assigneeId": ada})
    [error] = answer["errors"]
    assert error["path"] == ["createTask", "task", "incident", "metrics"]
    assert error["extensions"]["code"] == "TELEMETRY_NOT_CONFIGURED"
    assert answer["data"] == {
        "__typename": "Mutation",
        "createTask": {
            "__typename": "TaskPayload",
            "task": {
                "name": "Renew it",
                "owner": {"name": "Ada Lovelace"},
                "__typename": "IncidentTask",
                "incident": {
                    "services": [
                        {
                            "name": "checkout",
                            "incidents": {"totalCount": 1, "nodes": [{"title": "Checkout is failing"}]},
                        }
                    ],
                    "latest": {
                        "pageInfo": {"hasPreviousPage": True},
                        "edges": [{"node": {"title": "Task added: Renew it", "type": "TASK"}}],
                    },
                    "metrics": None,
                },
            },
        },
    }


async def test_a_payload_without_its_object_tells_the_errors_alone(api, incident):
    document = "mutation($id: ID!) { acknowledgeIncident(id: $id) { errors { message } } }"
    assert await api(document, id=incident) == {"data": {"acknowledgeIncident": {"errors": []}}}


class CountedReads:
    """Reads as they always are, and how many."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.count = 0

    async def fetch_text(self, sql: str, arguments: Sequence[Any], *, timeout_seconds: float) -> bytes | None:
        self.count += 1
        return await self.database.reads.fetch_text(sql, arguments, timeout_seconds=timeout_seconds)


async def test_a_payload_is_read_in_one_statement(api, incident):
    api.reading = reads = CountedReads(api.database)
    selection = "incident { title services { incidents { nodes { number } } } timeline { nodes { actor { name } } } }"
    await api.changed("acknowledgeIncident", selection, id=incident)
    assert reads.count == 1
    await api.refused("acknowledgeIncident", selection, id=incident)
    assert reads.count == 1


async def test_a_viewer_may_not_change_anything(api, incident):
    api.actor = replace(api.actor, role=Role.VIEWER)
    error = await api.refused("updateIncident", "incident { id }", input={"id": incident, "title": "Hm"})
    assert error == {
        "__typename": "ForbiddenError",
        "message": "This takes the role RESPONDER, and yours is VIEWER: ask an admin for it",
        "code": "FORBIDDEN",
        "path": [],
    }


async def test_what_nobody_expected_is_masked_and_leaves_nothing_behind(api, incident, database_url):
    await run_sql(database_url, "drop table audit_log")
    with capture_logs() as logs:
        answer = await api(RESOLVE, id=incident)
    assert answer == {
        "data": None,
        "errors": [
            {
                "message": "Something went wrong here. Mention request-1 when you report it.",
                "locations": [{"line": 1, "column": 22}],
                "path": ["resolveIncident"],
                "extensions": {"code": "INTERNAL_SERVER_ERROR", "reference": "request-1"},
            }
        ],
    }
    [log] = logs
    assert (log["log_level"], log["request_id"]) == ("error", "request-1")
    assert "audit_log" in str(log["exc_info"])
    read = await api("query($id: ID!) { incident(id: $id) { status timeline { totalCount } } }", id=incident)
    assert read == {"data": {"incident": {"status": "OPEN", "timeline": {"totalCount": 1}}}}


async def test_a_database_that_is_away_is_no_error_of_the_input(api, incident, postgres, database_url):
    name = urlsplit(database_url).path.removeprefix("/")
    await run_sql(postgres.url, f"alter database {name} allow_connections false")
    await run_sql(postgres.url, f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
    answer = await api(RESOLVE, id=incident)
    [error] = answer["errors"]
    assert answer["data"] is None
    assert (error["path"], error["extensions"]["code"]) == (["resolveIncident"], "DATABASE_UNAVAILABLE")
    assert error["message"] == "The database is not available at the moment, try again"


async def test_a_write_that_takes_too_long_is_given_up_as_a_whole(api, incident, database_url):
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("select from incidents for update")
    api.timeout_seconds = 0.2
    answer = await api(RESOLVE, id=incident)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["DEADLINE_EXCEEDED"]
    await transaction.rollback()
    await holder.close()
    api.timeout_seconds = 10
    read = await api("query($id: ID!) { incident(id: $id) { status } }", id=incident)
    assert read == {"data": {"incident": {"status": "OPEN"}}}


async def test_writes_that_meet_are_answered_one_by_one(api, incident):
    answers = await asyncio.gather(*(api(RESOLVE, id=incident) for _ in range(10)))
    payloads = [answer["data"]["resolveIncident"] for answer in answers]
    resolved = {"incident": {"status": "RESOLVED"}, "errors": []}
    refused = {"incident": None, "errors": [{"code": "CONFLICT"}]}
    assert sorted(payloads, key=str) == sorted([resolved, *[refused] * 9], key=str)


async def test_a_change_and_its_story_are_written_together(api, incident):
    before = await api.written()
    await api.changed("acknowledgeIncident", "incident { id }", id=incident)
    after = await api.written()
    grown = {table: after[table] - before[table] for table in after if after[table] != before[table]}
    assert grown == {"timeline_events": 1, "audit_log": 1, "outbox": 2}
    async with api.database.reading() as connection:
        entry = (
            await connection.execute(text("select actor_name, request_id from audit_log order by id desc"))
        ).first()
    assert entry == ("deploy-pipeline", None)


@pytest.mark.parametrize(
    "document",
    [
        "mutation { createIncident { errors { code } } }",
        'mutation { createIncident(input: { title: "x" }) { errors { code } } }',
        'mutation { createIncident(input: { title: "x", severity: URGENT }) { errors { code } } }',
        "mutation { createIncident(input: { title: null, severity: LOW }) { errors { code } } }",
        'mutation { createIncident(input: { title: "x", severity: LOW, color: "red" }) { errors { code } } }',
        'mutation { addTimelineNote(incidentId: "", text: "", occurredAt: "2026-03-01T12:00:00") { errors { code } } }',
        'mutation { createService(input: { name: "x", runbookUrl: "ftp://x" }) { errors { code } } }',
        'mutation { acknowledgeIncident(id: "x") { incident { row_id } } }',
        'mutation { acknowledgeIncident(id: "x") { rowId } }',
    ],
)
async def test_a_document_that_the_schema_does_not_allow_is_refused_before_anything_happens(api, document):
    before = await api.written()
    answer = await api(document)
    assert answer.keys() == {"errors"}
    assert await api.written() == before
