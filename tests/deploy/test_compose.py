"""docker-compose.yml, as far as it can be judged without a Docker engine."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from app.settings import Settings
from deploy.demo_shop.services import SERVICES
from tests.servers import ROOT

PORTS = {
    "backend": 9000,
    "grafana": 3000,
    "postgres": 5432,
    "prometheus": 9090,
    "pushgateway": 9091,
    "alertmanager": 9093,
    "loki": 3100,
    "tempo": 3200,
    "demo-shop": 8100,
}
PROGRAMS_OF_IMAGES = {
    "postgres": {"pg_isready"},
    "prom/prometheus": {"wget"},
    "prom/pushgateway": {"wget"},
    "prom/alertmanager": {"wget"},
    "grafana/grafana": {"wget"},
    "grafana/loki": {"/usr/bin/loki"},  # no shell in it, and no wget
    "grafana/tempo": {"/tempo"},  # neither
    "reliability-studio": {"python"},
    "reliability-studio-demo-shop": {"python"},
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def dependencies(service: dict[str, Any]) -> set[str]:
    return {name for name, how in service.get("depends_on", {}).items() if how == {"condition": "service_healthy"}}


def test_all_services_are_there_on_their_ports_which_only_this_machine_reaches(compose: dict[str, Any]):
    published = {name: service["ports"] for name, service in compose["services"].items()}
    assert published == {name: [f"${{BIND_ADDRESS:-127.0.0.1}}:{port}:{port}"] for name, port in PORTS.items()}


def test_each_image_has_a_version_and_none_is_the_latest(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        image, _, tag = service["image"].partition(":")
        assert re.search(r"\d+\.\d+", tag), f"{name}: {image} has no version"


def test_health_checks_use_what_the_images_have(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        form, program, *_ = service["healthcheck"]["test"]
        assert form == "CMD", f"{name}: some images have no shell"
        assert program in PROGRAMS_OF_IMAGES[service["image"].partition(":")[0]], name


def test_services_wait_for_those_that_they_need(compose: dict[str, Any]):
    services = compose["services"]
    assert dependencies(services["backend"]) == {"postgres", "prometheus", "loki", "tempo"}
    assert dependencies(services["grafana"]) >= {"backend", "prometheus", "loki", "tempo"}
    assert dependencies(services["demo-shop"]) == {"backend"}
    for name, service in services.items():
        assert dependencies(service) == set(service.get("depends_on", {})), f"{name} waits for no health"


def test_no_secret_has_a_default_outside_the_development_profile(compose: dict[str, Any]):
    text = (ROOT / "docker-compose.yml").read_text()
    secrets = {secret["environment"] for secret in compose["secrets"].values()}
    development = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy" / "dev.env").read_text().splitlines()
        if not line.startswith("#")
    )
    assert development.pop("AUTH_ENABLED") == "false"
    assert development.pop("AUTH_DISABLED_ALLOW_REMOTE") == "true"
    assert development.keys() == secrets
    for secret in secrets:
        assert re.findall(rf"\$\{{{secret}(?!:\?)", text) == []
    passwords = [
        (name, key)
        for name, service in compose["services"].items()
        for key, value in service.get("environment", {}).items()
        if re.search("PASSWORD|TOKEN|SECRET", key)
        and not str(value).startswith(("/run/secrets/", "${"))
        and "=$" not in value
    ]
    assert passwords == []


def test_volumes_and_networks_are_declared_and_used(compose: dict[str, Any]):
    services = compose["services"].values()
    mounts = [mount.split(":")[0] for service in services for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == {*compose["volumes"]}
    assert [mount for mount in mounts if mount.startswith(".") and not (ROOT / mount).exists()] == []
    used = {network for service in services for network in service["networks"]}
    assert used == {*compose["networks"]}
    assert compose["services"]["backend"]["networks"]["telemetry"]["aliases"] == ["reliability-backend"]


def test_services_that_talk_share_a_network(compose: dict[str, Any]):
    networks = {name: {*service["networks"]} for name, service in compose["services"].items()}
    for name, service in compose["services"].items():
        for needed in service.get("depends_on", {}):
            assert networks[name] & networks[needed], f"{name} cannot reach {needed}"


def test_what_the_backend_is_told_are_settings_of_it(compose: dict[str, Any]):
    known = {name.upper() for name in Settings.model_fields}
    assert {*compose["services"]["backend"]["environment"]} <= known


def test_our_own_containers_may_do_little(compose: dict[str, Any]):
    for name in ("backend", "demo-shop"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_service_of_the_shop_is_scraped(deploy: Path):
    prometheus = yaml.safe_load((deploy / "prometheus" / "prometheus.yml").read_text())
    (job,) = (job for job in prometheus["scrape_configs"] if job["job_name"] == "demo-shop")
    scraped = {each["labels"]["service_name"]: each["targets"] for each in job["static_configs"]}
    assert scraped == {
        service.name: [f"demo-shop:{PORTS['demo-shop'] + number}"] for number, service in enumerate(SERVICES, start=1)
    }


def test_every_service_is_scraped(compose: dict[str, Any], deploy: Path):
    prometheus = yaml.safe_load((deploy / "prometheus" / "prometheus.yml").read_text())
    hosts = {
        target.partition(":")[0]
        for job in prometheus["scrape_configs"]
        for each in job["static_configs"]
        for target in each["targets"]
    }
    assert hosts == {*compose["services"]} - {"postgres", "backend"} | {"reliability-backend"}


def test_it_follows_the_compose_specification():
    text = (ROOT / "docker-compose.yml").read_text()
    given = re.sub(r"\$\{\w+:\?[^}]*\}", "given", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    unfolded = json.loads(json.dumps(yaml.safe_load(given)))  # without anchors
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(unfolded)).validate()


def test_docker_compose_reads_it():
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker compose on this machine: it needs the Compose plugin of Docker's client")
    command = ("docker", "compose", "--env-file", "deploy/dev.env", "config", "--quiet")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
