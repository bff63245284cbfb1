"""`make stack` with `--sign-in`: everybody proves who they are, and all of it works as well."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from db.embedded import EmbeddedPostgres
from tests.deploy.conftest import NEEDED, START_TIMEOUT_SECONDS, RunningStack, read_until, start_stack
from tests.postgres import TEMPLATE, run_sql


@pytest.fixture(scope="module")
async def signed(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A running stack in which people and programs have to sign in."""
    for program in NEEDED:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine: apt-get install --no-install-recommends {program}")
    await run_sql(postgres.url, f"create database signed_stack template {TEMPLATE} strategy file_copy")
    settings = Path(tmp_path_factory.mktemp("stack")) / "further.env"
    settings.write_text("CORS_ALLOWED_ORIGINS=https://pages.example\n")
    url = postgres.url_of("signed_stack")
    running = await start_stack("--free-ports", "--sign-in", "--env-file", str(settings), "--database-url", url)
    try:
        await read_until(running, "Stop with Ctrl-C", timeout_seconds=START_TIMEOUT_SECONDS)
        yield running
    finally:
        await running.stop()


def shown(stack: RunningStack, pattern: str) -> str:
    found = re.search(pattern, "\n".join(stack.lines))
    assert found, stack.lines
    return found[1]


async def test_every_check_holds(signed: RunningStack):
    assert [line for line in signed.lines if line.startswith("FAILS")] == []
    assert "holds   who has not signed in is refused: 401" in signed.lines
    assert "holds   alerts of Alertmanager arrive: one did" in signed.lines
    assert "holds   the shop is in the catalog: 6 services" in signed.lines


async def test_what_it_shows_opens_it(signed: RunningStack, web: httpx.AsyncClient):
    backend, password = signed.urls["backend"], shown(signed, r"with the password (\S+)")
    token = shown(signed, r"Authorization: Bearer (\S+)\"")

    answer = await web.post(f"{backend}/api/auth/login", json={"email": "admin@localhost", "password": password})
    asked = await web.get(f"{backend}/api/incidents", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200, answer.text
    assert asked.status_code == 200, asked.text


async def test_a_deployment_of_the_shop_is_recorded_with_its_token(signed: RunningStack, web: httpx.AsyncClient):
    token = shown(signed, r"Authorization: Bearer (\S+)\"")
    (await web.post(f"{signed.urls['demo-shop']}/faults/bad-deploy")).raise_for_status()

    answer = await web.post(
        f"{signed.urls['backend']}/graphql",
        json={"query": '{ services(filter: { name: ["checkout"] }) { nodes { deployments { nodes { version } } } } }'},
        headers={"Authorization": f"Bearer {token}"},
    )

    [checkout] = answer.json()["data"]["services"]["nodes"]
    assert [deployment["version"] for deployment in checkout["deployments"]["nodes"]] == ["1.5.0"]


async def test_a_file_says_further_settings_of_the_server(signed: RunningStack, web: httpx.AsyncClient):
    answer = await web.get(f"{signed.urls['backend']}/health", headers={"Origin": "https://pages.example"})
    assert answer.headers["access-control-allow-origin"] == "https://pages.example"
