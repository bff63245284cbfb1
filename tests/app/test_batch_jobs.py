"""Commands tell a real Pushgateway how they went, and `check` says what it found of everything that is real."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import run_command
from tests.telemetry_clients.daemon import daemon

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
async def pushgateway(tmp_path: Path) -> AsyncIterator[str]:
    command = ("prometheus-pushgateway", "--web.listen-address=127.0.0.1:0")
    listening = r'msg="(?:Listening on|TLS is disabled.)".* address=(\S+)'
    async with daemon(command, tmp_path, listening=listening, package="prometheus-pushgateway") as url:
        yield url


async def pushed(url: str) -> dict[str, float]:
    """The metrics of `migrate`, by name."""
    async with httpx.AsyncClient(timeout=30) as client:
        text = (await client.get(f"{url}/metrics")).text
    return {
        sample.name.removeprefix("reliability_studio_job_"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("command") == "migrate" and sample.name.startswith("reliability_studio_")
    }


async def test_a_command_pushes_how_long_it_took_and_when_it_last_succeeded(
    pushgateway: str, empty_database_url: str
) -> None:
    settings = {"DATABASE_URL": empty_database_url, "PUSHGATEWAY_URL": pushgateway}
    assert (await run_command("migrate", settings=settings))[0] == 0
    first = await pushed(pushgateway)
    assert first["duration_seconds"] > 0
    assert first["last_run_succeeded"] == 1
    assert first["last_success_timestamp_seconds"] == first["last_completion_timestamp_seconds"]

    broken = {**settings, "DATABASE_URL": "postgresql://me@127.0.0.1:9/studio"}
    assert (await run_command("migrate", settings=broken))[0] == 1
    second = await pushed(pushgateway)
    assert second["last_run_succeeded"] == 0
    assert second["last_success_timestamp_seconds"] == first["last_success_timestamp_seconds"]
    assert second["last_completion_timestamp_seconds"] > first["last_completion_timestamp_seconds"]


async def test_a_pushgateway_that_is_gone_is_a_warning(empty_database_url: str) -> None:
    settings = {"DATABASE_URL": empty_database_url, "PUSHGATEWAY_URL": NOBODY}
    code, _, err = await run_command("migrate", settings=settings)
    assert code == 0
    assert "Migrated the database" in err
    assert "Warning: the metrics of this run were not pushed." in err
