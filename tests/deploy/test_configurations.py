"""The image, and the configurations of what stands around the server."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
import trustme
import yaml

from deploy.stack.ports import USUAL
from deploy.stack.programs import localized
from tests.servers import ROOT, ServerProcess

PINNED = re.compile(r"^[\w./-]+:[\w.-]*\d+\.\d+[\w.-]*$")


def run(*command: str) -> str:
    """The output of a program that has to succeed; skips where it is missing."""
    found = shutil.which(command[0], path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    if found is None:
        pytest.skip(f"no {command[0]} on this machine")
    done = subprocess.run((found, *command[1:]), capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions and their arguments, with continued lines joined."""
    text = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_prometheus_takes_its_configuration_and_rules():
    assert "SUCCESS" in run("promtool", "check", "config", "deploy/prometheus/prometheus.yml")


def test_the_rules_fire_when_they_should():
    tests = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "deploy" / "prometheus" / "tests").glob("*.yml"))
    assert len(tests) == 2
    run("promtool", "test", "rules", *tests)


def test_every_alert_has_a_severity_of_ours_a_summary_and_a_test():
    tested = "".join(path.read_text() for path in (ROOT / "deploy" / "prometheus" / "tests").glob("*.yml"))
    for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    assert rule["labels"]["severity"] in {"critical", "high", "medium", "low"}, rule["alert"]
                    assert rule["annotations"]["summary"]
                    assert f"alertname: {rule['alert']}" in tested, f"{rule['alert']} is not tested"


def test_alertmanager_takes_its_configuration():
    assert "SUCCESS" in run("amtool", "check-config", "deploy/alertmanager/alertmanager.yml")


def test_alerts_go_to_our_webhook_with_a_token_from_a_file(deploy: Path):
    configuration = yaml.safe_load((deploy / "alertmanager" / "alertmanager.yml").read_text())
    (receiver,) = configuration["receivers"]
    (webhook,) = receiver["webhook_configs"]
    assert webhook["url"] == "http://reliability-backend:9000/api/webhooks/alertmanager"
    assert webhook["http_config"]["authorization"]["credentials_file"] == "/run/secrets/webhook_token"
    assert webhook["send_resolved"] is True


def test_loki_keeps_traces_of_lines_and_deletes_what_is_old(deploy: Path):
    loki = yaml.safe_load((deploy / "loki" / "loki.yml").read_text())
    assert loki["server"]["http_listen_port"] == 3100
    assert loki["limits_config"]["allow_structured_metadata"] is True
    (schema,) = loki["schema_config"]["configs"]
    assert (schema["store"], schema["schema"], schema["index"]["period"]) == ("tsdb", "v13", "24h")
    assert loki["compactor"]["retention_enabled"] is True
    assert loki["compactor"]["delete_request_store"] == schema["object_store"]  # Loki refuses retention without it


def test_tempo_takes_otlp_and_writes_metrics_to_prometheus(deploy: Path):
    tempo = yaml.safe_load((deploy / "tempo" / "tempo.yml").read_text())
    assert {*tempo["distributor"]["receivers"]["otlp"]["protocols"]} == {"grpc", "http"}
    (remote,) = tempo["metrics_generator"]["storage"]["remote_write"]
    assert remote == {"url": "http://prometheus:9090/api/v1/write", "send_exemplars": True}
    assert {*tempo["overrides"]["defaults"]["metrics_generator"]["processors"]} == {"service-graphs", "span-metrics"}
    gone_in_3 = {"ingester", "ingester_client", "compactor", "metrics_generator_client"}
    assert gone_in_3 & tempo.keys() == set()


@pytest.mark.parametrize(("program", "flag"), [("loki", "-verify-config"), ("tempo", "-config.verify")])
def test_the_program_itself_takes_it(program: str, flag: str, deploy: Path):
    run(program, f"-config.file={deploy / program / program}.yml", flag)


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "loki", "tempo"])
def test_no_name_of_the_container_network_is_left_without_docker(name: str, deploy: Path, tmp_path: Path):
    written = localized(deploy / name / f"{name}.yml", tmp_path / f"{name}.yml", USUAL).read_text()
    yaml.safe_load(written)
    names = "postgres|prometheus|pushgateway|loki|tempo|alertmanager|reliability-backend|demo-shop"
    assert re.findall(rf"\b(?:{names}):\d+", written) == []
    assert "/run/secrets" not in written


def test_the_image_is_built_from_pinned_images_and_runs_as_nobody(dockerfile: list[tuple[str, str]]):
    stages = [argument.split(" AS ") for instruction, argument in dockerfile if instruction == "FROM"]
    known = {name for _, name in stages}
    assert [image for image, _ in stages if image not in known and not PINNED.match(image)] == []
    assert stages[-1][1] == "server"  # what is built where no target is named
    assert ("USER", "10001") in dockerfile
    assert [argument for instruction, argument in dockerfile if instruction == "ADD"] == []
    assert all(argument.startswith("[") for instruction, argument in dockerfile if instruction in {"CMD", "ENTRYPOINT"})
    assert sum(instruction == "HEALTHCHECK" for instruction, _ in dockerfile) == 2


def test_the_soak_is_measured_with_the_malloc_of_the_image(dockerfile: list[tuple[str, str]]):
    environment = " ".join(arguments for instruction, arguments in dockerfile if instruction == "ENV")
    (arenas,) = re.findall(r"\bMALLOC_ARENA_MAX=(\d+)", environment)
    assert f'"MALLOC_ARENA_MAX": "{arenas}"' in (ROOT / "bench" / "soak.py").read_text()


def test_the_build_gets_all_that_the_wheel_is_made_of():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!").split("/")[0] for line in ignored if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert {path.split("/")[0] for path in wheel} <= allowed
    assert {"README.md", "LICENSE", "pyproject.toml", "requirements.lock"} <= allowed


def test_hadolint_has_nothing_to_say():
    assert run("hadolint", "deploy/Dockerfile").strip() == ""


async def probe(*url: str, **settings: str) -> int:
    """The exit code of the health check that containers have, called as in one with these settings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "deploy" / "probe.py", *url, env=settings, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def test_the_probe_tells_healthy_from_not(server_url: str):
    assert await probe(f"{server_url}/api/health") == 0
    assert await probe(f"{server_url}/nowhere") == 1
    assert await probe("http://127.0.0.1:9/") == 1


async def test_the_probe_asks_the_server_where_its_settings_say_that_it_listens(server_url: str):
    port = str(httpx.URL(server_url).port)
    assert await probe(PORT=port) == 0
    assert await probe(PORT=port, HOST="0.0.0.0") == 0  # noqa: S104  # as in the image
    assert await probe(PORT=port, HOST="127.0.0.2") == 1
    assert await probe(PORT="9") == 1


async def test_the_probe_asks_by_https_where_the_server_has_a_certificate(served_database_url: str, tmp_path: Path):
    file = tmp_path / "server.pem"
    trustme.CA().issue_cert("studio.example").private_key_and_cert_chain_pem.write_to_path(file)
    async with ServerProcess("--tls-cert", str(file), DATABASE_URL=served_database_url) as server:
        port = str(httpx.URL(server.url).port)
        assert await probe(PORT=port, TLS_CERT_FILE=str(file)) == 0
        assert await probe(PORT=port) == 0, "the certificate may be an option of the command line's"
    assert await probe(PORT=port) == 1


def test_the_image_and_compose_ask_the_server_by_its_settings(dockerfile: list[tuple[str, str]]):
    checks = [arguments for instruction, arguments in dockerfile if instruction == "HEALTHCHECK"]
    assert checks[-1].endswith('CMD ["python", "/app/probe.py"]')
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert compose["services"]["backend"]["healthcheck"]["test"] == ["CMD", "python", "/app/probe.py"]
