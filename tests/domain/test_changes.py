"""How changes are told to machines."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.changes import Change
from domain.incidents import IncidentStatus

ADA = UUID("0190b0a0-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("column", "field", "words"),
    [
        ("status", "status", "Status"),
        ("root_cause", "rootCause", "Root cause"),
        ("postmortem_url", "postmortemUrl", "Postmortem URL"),
        ("commander_id", "commander", "Commander"),
    ],
)
def test_columns_are_called_what_the_api_and_people_call_them(column, field, words):
    change = Change(column, None, None)
    assert (change.field, change.words) == (field, words)


def test_values_are_told_as_json_has_them():
    assert Change("status", IncidentStatus.OPEN, IncidentStatus.RESOLVED).as_json() == {
        "field": "status",
        "from": "OPEN",
        "to": "RESOLVED",
    }
    assert Change("commander_id", None, ADA).as_json()["to"] == str(ADA)
    time = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
    assert Change("resolved_at", None, time).as_json()["to"] == "2026-03-01T12:00:00.000005Z"
