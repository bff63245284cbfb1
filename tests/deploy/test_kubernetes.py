"""The manifests: whether Kubernetes would take them, and whether they fit the server.

Without a cluster, the schema is kubernetes-validate's; the rest is checked by hand.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from tests.servers import ROOT

WORKERS_GRACE_SECONDS = 5  # What a parent gives its workers beyond their own time.
KINDS = {
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """What is listed to be applied, by kind."""
    folder = ROOT / "deploy" / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in folder.glob("*.yaml")} == {*listed, "kustomization.yaml"}
    found = [yaml.safe_load((folder / name).read_text()) for name in listed]
    return {manifest["kind"]: manifest for manifest in found}


def test_there_is_one_of_each_kind_in_its_current_version(manifests: dict[str, dict[str, Any]]):
    assert {(manifest["apiVersion"], kind) for kind, manifest in manifests.items()} == KINDS


def pods(manifests: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [manifests[kind]["spec"]["template"]["spec"] for kind in ("Deployment", "Job")]


def test_everything_selects_the_same_pods(manifests: dict[str, dict[str, Any]]):
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["Job"]["spec"]["template"]["metadata"]["labels"] != labels
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == manifests["Deployment"]["metadata"]["name"]
    assert "replicas" not in manifests["Deployment"]["spec"]


def test_containers_may_do_little(manifests: dict[str, dict[str, Any]]):
    for pod in pods(manifests):
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def test_secrets_come_by_reference_and_settings_exist(manifests: dict[str, dict[str, Any]]):
    known = {name.upper() for name in Settings.model_fields}
    given = manifests["ConfigMap"]["data"]
    assert given.keys() <= known
    assert all(isinstance(value, str) for value in given.values())
    Settings(**{name.lower(): value for name, value in given.items()})
    for pod in pods(manifests):
        for variable in pod["containers"][0]["env"]:
            assert variable["name"] in known
            assert variable["valueFrom"]["secretKeyRef"]["key"] == variable["name"]


def test_pods_have_longer_to_stop_than_the_server_needs(manifests: dict[str, dict[str, Any]]):
    (pod, _) = pods(manifests)
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = float(manifests["ConfigMap"]["data"]["SHUTDOWN_TIMEOUT_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > pause + needed + WORKERS_GRACE_SECONDS


async def test_probes_ask_what_the_server_answers(
    manifests: dict[str, dict[str, Any]], server_url: str, web: httpx.AsyncClient
):
    container = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert (await web.get(server_url + asked["path"])).status_code == 200
    assert container["livenessProbe"]["httpGet"]["path"] != container["readinessProbe"]["httpGet"]["path"]


def test_kustomize_puts_them_together():
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on this machine")
    command = ("kubectl", "kustomize", "deploy/kubernetes")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    images = {
        container["image"]
        for manifest in yaml.safe_load_all(done.stdout)
        if manifest["kind"] in {"Deployment", "Job"}
        for container in manifest["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"reliability-studio:0.1.0"}


def test_they_follow_the_schema_of_kubernetes(manifests: dict[str, dict[str, Any]], tmp_path: Path):
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, "1.34", strict=True)
