"""docs/operations.md, held against what it speaks of."""

import re

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from app.observability.detection import DetectionLag, DetectionMetrics
from app.observability.replica import ReplicaMetrics
from app.observability.slos import EvaluationLag, EvaluationMetrics
from app.observability.telemetry import TelemetryObserver
from app.settings import Settings
from db.database import Database
from db.read_pool import ReadPool
from db.replica import Replica
from tests.servers import ROOT


@pytest.fixture(scope="module")
def guide() -> str:
    return (ROOT / "docs" / "operations.md").read_text()


async def with_prometheus(database: Database) -> CollectorRegistry:
    """The metrics of what a server does only where there is a Prometheus."""
    registry = CollectorRegistry()
    EvaluationMetrics(registry)
    DetectionMetrics(registry)
    TelemetryObserver(registry)
    for lag in (EvaluationLag(database), DetectionLag(database)):
        await lag.sample()
        registry.register(lag)
    return registry


async def test_every_metric_of_the_server_is_explained(guide: str, http: httpx.AsyncClient):
    text = (await http.get("/metrics")).text
    names = {
        family.name
        for family in text_string_to_metric_families(text)
        if not family.name.startswith(("process_", "python_")) and not family.name.endswith("_created")
    }
    assert len(names) > 10
    assert {name for name in names if f"`{name}" not in guide} == set()


async def test_every_metric_of_what_a_server_does_with_prometheus_is_explained(guide: str, database: Database):
    names = {family.name for family in (await with_prometheus(database)).collect()}
    assert len(names) > 10
    assert {name for name in names if f"`{name}" not in guide} == set()


async def test_no_metric_is_explained_that_does_not_exist(guide: str, http: httpx.AsyncClient, database: Database):
    registry = await with_prometheus(database)
    nowhere = ReadPool("postgresql:///nowhere")  # nobody reads
    registry.register(ReplicaMetrics(Replica(nowhere, nowhere, most_lag_seconds=1)))
    existing = {family.name for family in registry.collect()}
    existing |= {family.name for family in text_string_to_metric_families((await http.get("/metrics")).text)}
    # From others than a server alone: the Pushgateway, and a server of several processes.
    elsewhere = ("reliability_studio_job_last_", "reliability_studio_job_duration_seconds")
    existing |= {"reliability_studio_worker_up", "reliability_studio_build_info"}
    table = guide.partition("### Metrics")[2].partition("### ")[0]
    explained = set(re.findall(r"`([a-z][a-z_]+_[a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    assert len(explained) > 40
    assert {
        name
        for name in explained
        if name.removesuffix("_total") not in existing and name not in existing and not name.startswith(elsewhere)
    } == set()


def test_every_alert_is_explained(guide: str):
    alerts = {
        rule["alert"]
        for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert len(alerts) > 10
    assert {alert for alert in alerts if f"`{alert}`" not in guide} == set()


def test_every_setting_that_it_names_exists(guide: str):
    named = set(re.findall(r"`((?:DB|MAX|EVENT|SOCKET|STREAM|SHUTDOWN|TELEMETRY|TRACED)_[A-Z_]+)`", guide))
    assert named <= {name.upper() for name in Settings.model_fields}


def test_every_file_that_it_names_exists(guide: str):
    named = re.findall(r"`((?:deploy|grafana)/[\w./-]+)`", guide)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
