"""The programs of the stack: how each is called here, with the shipped configuration turned to this machine."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.stack.ports import HOST

DEPLOY: Final = Path(__file__).parents[1]
ROOT: Final = DEPLOY.parent
TOKEN: Final = "stack-only"  # noqa: S105  # it opens the webhook of a server that only this machine reaches
SCRAPE_INTERVAL_SECONDS: Final = 2
SERVER: Final = str(Path(sys.executable).parent / "reliability-studio")


@dataclass(frozen=True, slots=True)
class Program:
    """One process. `names` are those that the program has on different systems; `probe` is the path of its health."""

    service: str
    names: tuple[str, ...]
    probe: str
    arguments: Callable[[str, Path, Mapping[str, int]], list[str]]
    package: str = ""
    is_needed: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)

    def find(self) -> str | None:
        """Where it is, or None."""
        return next((found for name in self.names if (found := shutil.which(name))), None)

    @property
    def how_to_get(self) -> str:
        """What to do where it is missing."""
        return (
            f"apt-get install --no-install-recommends {self.package}" if self.package else "see the project's releases"
        )


def localized(source: Path, target: Path, ports: Mapping[str, int]) -> Path:
    """Write a configuration of the stack with the addresses, folders and secrets of this machine; return where."""
    text = source.read_text()
    shop = ports["demo-shop"]
    replaced = {
        "reliability-backend:9000": f"{HOST}:{ports['backend']}",
        "http://prometheus:9090": f"http://{HOST}:{ports['prometheus']}",
        "[prometheus:9090]": f"['{HOST}:{ports['prometheus']}']",
        "pushgateway:9091": f"{HOST}:{ports['pushgateway']}",
        "alertmanager:9093": f"{HOST}:{ports['alertmanager']}",
        "[loki:3100]": f"['{HOST}:{ports['loki']}']",
        "[tempo:3200]": f"['{HOST}:{ports['tempo']}']",
        "http_listen_port: 3100": f"http_listen_address: {HOST}\n  http_listen_port: {ports['loki']}",
        "http_listen_port: 3200": f"http_listen_address: {HOST}\n  http_listen_port: {ports['tempo']}",
        "grpc_listen_port: 9096": "grpc_listen_port: 0",
        '"0.0.0.0:4317"': f'"{HOST}:0"',
        '"0.0.0.0:4318"': f'"{HOST}:{ports["otlp"]}"',
        "/var/tempo": str(target.parent / "tempo"),
        ": /loki": f": {target.parent / 'loki'}",
        "/run/secrets/webhook_token": str(target.parent / "webhook_token"),
        "scrape_interval: 15s": f"scrape_interval: {SCRAPE_INTERVAL_SECONDS}s",
        "scrape_timeout: 10s": f"scrape_timeout: {SCRAPE_INTERVAL_SECONDS}s",
        "evaluation_interval: 15s": f"evaluation_interval: {SCRAPE_INTERVAL_SECONDS}s",
        "- rules/*.yml": f"- {DEPLOY / 'prometheus' / 'rules'}/*.yml",
        **{f"demo-shop:{8100 + number}": f"{HOST}:{shop + number}" for number in range(1, 7)},
    }
    for before, after in replaced.items():
        text = text.replace(before, after)
    target.write_text(text)
    return target


def _prometheus(program: str, folder: Path, ports: Mapping[str, int]) -> list[str]:
    configuration = localized(DEPLOY / "prometheus" / "prometheus.yml", folder / "prometheus.yml", ports)
    return [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={HOST}:{ports['prometheus']}",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
    ]


def _pushgateway(program: str, folder: Path, ports: Mapping[str, int]) -> list[str]:
    # Debian's keeps what is pushed in a file of the system's unless it is told otherwise.
    return [
        program,
        f"--persistence.file={folder / 'pushgateway'}",
        f"--web.listen-address={HOST}:{ports['pushgateway']}",
    ]


def _alertmanager(program: str, folder: Path, ports: Mapping[str, int]) -> list[str]:
    (folder / "webhook_token").write_text(TOKEN)
    configuration = localized(DEPLOY / "alertmanager" / "alertmanager.yml", folder / "alertmanager.yml", ports)
    return [
        program,
        f"--config.file={configuration}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={HOST}:{ports['alertmanager']}",
        "--cluster.listen-address=",
    ]


def _loki(program: str, folder: Path, ports: Mapping[str, int]) -> list[str]:
    return [program, f"-config.file={localized(DEPLOY / 'loki' / 'loki.yml', folder / 'loki.yml', ports)}"]


def _tempo(program: str, folder: Path, ports: Mapping[str, int]) -> list[str]:
    return [program, f"-config.file={localized(DEPLOY / 'tempo' / 'tempo.yml', folder / 'tempo.yml', ports)}"]


def _backend(_program: str, folder: Path, ports: Mapping[str, int]) -> list[str]:
    return [SERVER, "serve", "--host", HOST, "--port", str(ports["backend"]), "--data-dir", str(folder / "postgres")]


def _demo_shop(_program: str, _folder: Path, ports: Mapping[str, int]) -> list[str]:
    backend, port = f"http://{HOST}:{ports['backend']}", str(ports["demo-shop"])
    return [sys.executable, "-m", "deploy.demo_shop", "run", "--port", port, "--studio", backend]


PROGRAMS: Final = (
    Program("prometheus", ("prometheus",), "/-/ready", _prometheus, "prometheus"),
    Program(
        "pushgateway", ("prometheus-pushgateway", "pushgateway"), "/-/ready", _pushgateway, "prometheus-pushgateway"
    ),
    Program(
        "alertmanager",
        ("prometheus-alertmanager", "alertmanager"),
        "/-/ready",
        _alertmanager,
        "prometheus-alertmanager",
    ),
    Program("loki", ("loki",), "/ready", _loki, is_needed=False),
    Program("tempo", ("tempo",), "/ready", _tempo, is_needed=False),
    Program("backend", (sys.executable,), "/api/health", _backend),
    Program("demo-shop", (sys.executable,), "/health", _demo_shop),
)
"""In the order in which they start: the backend after what it asks, the shop after the backend."""
