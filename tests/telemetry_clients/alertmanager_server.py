"""A real Alertmanager for tests: the fixture `alertmanager_server`, a pytest plugin of `tests/conftest.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.time import Deadline
from telemetry_clients.alertmanager import Alertmanager
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.daemon import daemon

_CONFIGURATION = """\
route:
  receiver: nobody
receivers:
  - name: nobody
"""


@dataclass(frozen=True)
class AlertmanagerServer:
    """A running server. `url` is for what is to be configured with it, `client` for what wants to ask it at once."""

    url: str
    transport: Transport
    client: Alertmanager

    async def fire(self, *labels: dict[str, str]) -> None:
        """Let alerts with these labels fire."""
        alerts = [{"labels": some, "annotations": {}} for some in labels]
        answer = await self.transport.post_json("/api/v2/alerts", body=alerts, deadline=Deadline.after(10))
        assert answer.succeeded, answer.body


@asynccontextmanager
async def running_alertmanager(folder: Path) -> AsyncIterator[AlertmanagerServer]:
    """Start an Alertmanager in an empty folder, which tells nobody of anything, and stop it at the end."""
    (folder / "alertmanager.yml").write_text(_CONFIGURATION)
    command = (
        "prometheus-alertmanager",
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    )
    listening = r'msg="Listening on".* address=(\S+)'
    async with (
        daemon(command, folder, listening=listening, package="prometheus-alertmanager") as url,
        Transport(Endpoint(backend="Alertmanager", url=url)) as transport,
    ):
        yield AlertmanagerServer(url, transport, Alertmanager(transport))


@pytest.fixture(scope="session")
async def alertmanager_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AlertmanagerServer]:
    """One Alertmanager for the whole session."""
    async with running_alertmanager(tmp_path_factory.mktemp("alertmanager")) as server:
        yield server
