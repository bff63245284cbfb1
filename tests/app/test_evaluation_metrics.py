"""What `/metrics` tells of how late SLOs and detection are: the same from every process, whichever evaluates."""

import pytest
from prometheus_client import CollectorRegistry

from app.observability.detection import DetectionLag
from app.observability.slos import EvaluationLag
from db.database import Database
from domain.errors import DatabaseUnavailable
from tests.postgres import run_sql

MAKE_SLOS = """
insert into services (id, name, display_name, created_at, updated_at)
  values (gen_random_uuid(), 'checkout', 'checkout', now(), now());
insert into slos (id, name, service_id, objective, window_days, slice_seconds, indicator_kind,
    created_at, updated_at)
  select gen_random_uuid(), 'slo ' || number, services.id, 0.99, 30, 300, 'RATIO',
    now() - interval '1 hour', now()
  from services, generate_series(1, 3) number;
"""
EVALUATE = """
insert into slo_states (slo_id, status, measured_at, error_budget_remaining, error_budget_consumed, coverage,
    evaluated_through)
  select id, '{status}', now(), 1, 0, 1, now() - interval '{age}' from slos where name = '{name}'
"""


async def test_slos_are_as_late_as_the_latest_that_can_be_evaluated(database: Database, database_url: str):
    registry = CollectorRegistry()
    lag = EvaluationLag(database)
    registry.register(lag)

    async def told() -> tuple[float | None, float | None]:
        await lag.sample()
        seconds = registry.get_sample_value("slo_evaluation_lag_seconds")
        return seconds, registry.get_sample_value("slo_evaluation_quarantined")

    assert await told() == (0, 0), "there is no SLO that could be late"
    await run_sql(database_url, MAKE_SLOS)
    assert await told() == (pytest.approx(3600, abs=60), 0), "none was ever evaluated since they were made"
    for name, status, age in (
        ("slo 1", "HEALTHY", "6 minutes"),
        ("slo 2", "WARNING", "7 minutes"),
        ("slo 3", "ERROR", "9 days"),
    ):
        await run_sql(database_url, EVALUATE.format(name=name, status=status, age=age))
    # A slice of five minutes has been over for two, and that which fails by itself holds up no other.
    assert await told() == (pytest.approx(120, abs=60), 1)


async def test_slos_that_are_up_to_date_are_not_late(database: Database, database_url: str):
    registry = CollectorRegistry()
    lag = EvaluationLag(database)
    registry.register(lag)
    await run_sql(database_url, MAKE_SLOS)
    for number in range(1, 4):
        await run_sql(database_url, EVALUATE.format(name=f"slo {number}", status="HEALTHY", age="1 minute"))
    await lag.sample()
    assert registry.get_sample_value("slo_evaluation_lag_seconds") == 0


async def test_detection_is_as_late_as_the_rule_that_waits_longest(database: Database, database_url: str):
    registry = CollectorRegistry()
    lag = DetectionLag(database)
    registry.register(lag)

    async def told() -> tuple[float | None, float | None]:
        await lag.sample()
        seconds = registry.get_sample_value("detection_lag_seconds")
        return seconds, registry.get_sample_value("detection_rules_failing")

    await run_sql(
        database_url,
        "update detection_rules set is_enabled = true, last_evaluated_at = null, created_at = now() - interval '1 h'",
    )
    assert await told() == (pytest.approx(3600, abs=60), 0), "no server has ever evaluated them"
    await run_sql(database_url, "update detection_rules set last_evaluated_at = now() - interval '2 minutes'")
    assert await told() == (pytest.approx(120, abs=60), 0)
    await run_sql(
        database_url,
        "update detection_rules set failing_since = now() where id = (select min(id::text)::uuid from detection_rules)",
    )
    assert await told() == (pytest.approx(120, abs=60), 1)
    await run_sql(database_url, "update detection_rules set is_enabled = false")
    assert await told() == (None, 0), "what nobody wants to be evaluated cannot be late"


async def test_what_the_database_does_not_tell_is_not_told(database: Database):
    registry = CollectorRegistry()
    collectors = (EvaluationLag(database), DetectionLag(database))
    await database.close()
    for collector in collectors:
        registry.register(collector)
        with pytest.raises(DatabaseUnavailable):
            await collector.sample()
    assert list(registry.collect()) == []
