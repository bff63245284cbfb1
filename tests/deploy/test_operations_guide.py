"""docs/operations.md, held against what it speaks of."""

import re

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.settings import Settings
from tests.servers import ROOT


@pytest.fixture(scope="module")
def guide() -> str:
    return (ROOT / "docs" / "operations.md").read_text()


async def test_every_metric_of_the_server_is_explained(guide: str, http: httpx.AsyncClient):
    text = (await http.get("/metrics")).text
    names = {
        family.name
        for family in text_string_to_metric_families(text)
        if not family.name.startswith(("process_", "python_")) and not family.name.endswith("_created")
    }
    assert len(names) > 10
    assert {name for name in names if f"`{name}" not in guide} == set()


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
