"""`reliability-studio check` asks every instance of every backend, and says what it found of each."""

from pathlib import Path

import yaml

from tests.servers import run_command
from tests.telemetry_clients.alertmanager_server import running_alertmanager
from tests.telemetry_clients.daemon import daemon
from tests.telemetry_clients.local_server import local_server
from tests.telemetry_clients.loki_server import local_loki
from tests.telemetry_clients.prometheus_server import running_prometheus
from tests.telemetry_clients.tempo_server import TempoServer


async def test_what_cannot_be_reached_or_is_misconfigured_does_not_hide_the_others(
    database_url: str, tmp_path: Path
) -> None:
    config = tmp_path / "telemetry.yml"
    async with local_loki() as loki, local_server(TempoServer()) as tempo:
        certificate = tmp_path / "ca.pem"
        certificate.write_text("no certificate")
        instances = {
            "prometheus": {"default": {"url": "https://127.0.0.1:1", "tls_ca_file": str(certificate)}},
            "loki": {"default": {"url": loki.url}, "eu": {"url": "http://127.0.0.1:1"}},
            "tempo": {"default": {"url": tempo.url}},
        }
        config.write_text(yaml.safe_dump(instances))
        code, out, errors = await run_command(
            "check", settings={"DATABASE_URL": database_url, "TELEMETRY_CONFIG": str(config)}
        )
    assert code == 0, errors
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["prometheus"][0] == "fails"
    assert "of Prometheus cannot be used" in out
    assert rows["loki"][:2] == ["works", "3.5.0"]
    assert rows["loki/eu"][0] == "fails"
    assert rows["tempo"][:2] == ["works", "3.1.0"]
    assert rows["pushgateway"][:2] == rows["alertmanager"][:2] == ["not", "configured"]
    assert "stamina" not in out, "what is tried again is no line of the answer"


async def test_every_backend_says_its_version_and_how_long_it_took(database_url: str, tmp_path: Path) -> None:
    for name in ("prometheus", "alertmanager", "pushgateway"):
        (tmp_path / name).mkdir()
    command = ["prometheus-pushgateway", "--web.listen-address=127.0.0.1:0"]
    listening, package = r'msg="(?:Listening on|TLS is disabled.)".* address=(\S+)', "prometheus-pushgateway"
    async with (
        running_prometheus(tmp_path / "prometheus") as prometheus,
        running_alertmanager(tmp_path / "alertmanager") as alertmanager,
        daemon(command, tmp_path / "pushgateway", listening=listening, package=package) as pushgateway,
        local_loki() as loki,
        local_server(TempoServer()) as tempo,
    ):
        urls = {
            "PROMETHEUS_URL": prometheus.url,
            "ALERTMANAGER_URL": alertmanager.url,
            "PUSHGATEWAY_URL": pushgateway,
            "LOKI_URL": loki.url,
            "TEMPO_URL": tempo.url,
        }
        code, out, errors = await run_command("check", settings={"DATABASE_URL": database_url, **urls})
    assert code == 0, errors
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    for backend in ("prometheus", "alertmanager", "pushgateway", "loki", "tempo"):
        works, version, latency, unit = rows[backend][:4]
        assert (works, unit) == ("works", "ms"), out
        assert version[0].isdigit(), out
        assert float(latency) > 0
