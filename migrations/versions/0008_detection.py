"""Let detection remember what it has seen, and write down the rules that everybody starts with."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIMES = ("bad_since", "good_since", "seen_at")
_NUMBERS = ("baseline_centre", "baseline_deviation")
_RULES: tuple[dict[str, Any], ...] = (
    {
        "id": UUID("019abd00-0000-7000-8000-000000000001"),
        "name": "High error ratio",
        "description": "More than 5 % of the requests fail, and that is no chance of a few requests.",
        "kind": "THRESHOLD",
        "signal": "ERROR_RATIO",
        "comparison": "ABOVE",
        "threshold": 0.05,
        "for_seconds": 120,
        "severity": "HIGH",
        "parameters": '{"confidence": 0.99, "recoveryThreshold": 0.03}',
    },
    {
        "id": UUID("019abd00-0000-7000-8000-000000000002"),
        "name": "Slow responses (p95)",
        "description": "The slowest 5 % of the requests take half as long again as is usual at this hour.",
        "kind": "SEASONAL",
        "signal": "LATENCY_P95",
        "comparison": "ABOVE",
        "threshold": 5.0,
        "for_seconds": 180,
        "severity": "HIGH",
        "parameters": '{"minimumChange": 0.5, "minimumRequests": 100, "minimumValue": 0.05}',
    },
    {
        "id": UUID("019abd00-0000-7000-8000-000000000003"),
        "name": "Slow responses (p99)",
        "description": "The slowest 1 % of the requests take twice as long as is usual at this hour.",
        "kind": "SEASONAL",
        "signal": "LATENCY_P99",
        "comparison": "ABOVE",
        "threshold": 5.0,
        "for_seconds": 300,
        "severity": "MEDIUM",
        "parameters": '{"minimumChange": 1.0, "minimumRequests": 500, "minimumValue": 0.1}',
    },
    {
        "id": UUID("019abd00-0000-7000-8000-000000000004"),
        "name": "Traffic drop",
        "description": "Less than half of the requests arrive that are usual at this hour.",
        "kind": "SEASONAL",
        "signal": "REQUEST_RATE",
        "comparison": "BELOW",
        "threshold": 3.0,
        "for_seconds": 180,
        "severity": "HIGH",
        "parameters": '{"minimumChange": 0.5, "minimumRequests": 100}',
    },
    {
        "id": UUID("019abd00-0000-7000-8000-000000000005"),
        "name": "High saturation",
        "description": "The busiest instance uses a core, or its memory, by more than 90 %, which is not usual for it.",
        "kind": "SEASONAL",
        "signal": "SATURATION",
        "comparison": "ABOVE",
        "threshold": 3.0,
        "for_seconds": 300,
        "severity": "MEDIUM",
        "parameters": '{"minimumChange": 0.2, "minimumValue": 0.9}',
    },
)
_INSERT = """
insert into detection_rules
    (id, name, description, kind, signal, comparison, threshold, for_seconds, severity, parameters, created_at,
     updated_at)
values
    (:id, :name, :description, cast(:kind as detection_kind), cast(:signal as golden_signal),
     cast(:comparison as comparison), :threshold, :for_seconds, cast(:severity as severity),
     cast(:parameters as jsonb), now(), now())
on conflict do nothing
"""


def upgrade() -> None:
    """Add the columns, and the rules: once, so that whoever deletes one never sees it again."""
    for column in _TIMES:
        op.add_column("detection_states", sa.Column(column, sa.DateTime(timezone=True)))
    for column in _NUMBERS:
        op.add_column("detection_states", sa.Column(column, sa.Float(53)))
        op.create_check_constraint(
            f"{column}_finite", "detection_states", f"{column} > '-Infinity' and {column} < 'Infinity'"
        )
    for rule in _RULES:
        op.get_bind().execute(sa.text(_INSERT), rule)


def downgrade() -> None:
    """Drop the columns. The rules stay: somebody may have changed them."""
    for column in (*_TIMES, *_NUMBERS):
        op.drop_column("detection_states", column)
