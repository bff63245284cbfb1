"""What an incident shows of every backend in one request, and what is left of it while some of them fail."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.loki.answers import nanoseconds
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import NOON, Api
from tests.schema.prometheus_backend import HISTOGRAM, PrometheusBackend
from tests.telemetry_clients.local_server import local_server
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.telemetry_clients.tempo_server import StoredTrace, TempoServer, trace_id

RANGE = f'{{ from: "{(NOON - timedelta(hours=1)).isoformat()}", to: "{NOON.isoformat()}" }}'
EVERYTHING = f"""query($id: ID!) {{ incident(id: $id) {{
  title
  metrics(range: {RANGE}, signals: [ERROR_RATIO, LATENCY_P95]) {{ name points {{ value }} }}
  logs(range: {RANGE}, level: [ERROR]) {{ line }}
  services {{ name logPatterns(range: {RANGE}, level: [ERROR]) {{ template count }} }}
  traces(range: {RANGE}, errorsOnly: true, first: 5, orderBy: DURATION) {{
    durationSeconds errorOrigin {{ service operation }}
  }}
}} }}"""


@dataclass
class Region:
    """The backends of a region."""

    prometheus: PrometheusBackend
    loki: LocalLoki
    tempo: TempoServer


@pytest.fixture
async def regions(api: Api) -> AsyncIterator[dict[str, Region]]:
    """Two of each backend: the default one knows checkout, "eu" knows payment."""
    regions: dict[str, Region] = {}
    clients: dict[str, dict[str, Any]] = {"Prometheus": {}, "Loki": {}, "Tempo": {}}
    async with AsyncExitStack() as stack:
        for instance, service in ((DEFAULT, "checkout"), ("eu", "payment")):
            region = Region(_prometheus(service), await stack.enter_async_context(local_loki()), _tempo(service))
            _write(region.loki, service)
            servers = {
                "Prometheus": (await stack.enter_async_context(local_server(region.prometheus))).url,
                "Loki": region.loki.url,
                "Tempo": (await stack.enter_async_context(local_server(region.tempo))).url,
            }
            for (backend, url), client in zip(servers.items(), (Prometheus, Loki, Tempo), strict=True):
                endpoint = Endpoint(backend=backend, instance=instance, url=url)
                clients[backend][instance] = client(await stack.enter_async_context(Transport(endpoint)))
            regions[instance] = region
        api.telemetry = Telemetry(
            **{backend.lower(): Instances(backend, instances) for backend, instances in clients.items()}
        )
        yield regions


@pytest.fixture
async def incident_in_both(api: Api, incident: str, regions: dict[str, Region]) -> str:
    """An incident that hurts a service of each region."""
    known = {"name": "payment", "telemetryInstances": {"prometheus": "eu", "loki": "eu", "tempo": "eu"}}
    payment = (await api.changed("createService", "service { id }", input=known))["id"]
    await api.changed("setServiceImpact", "incident { id }", incidentId=incident, serviceId=payment, level="SECONDARY")
    return incident


def _prometheus(service: str) -> PrometheusBackend:
    return PrometheusBackend([{"__name__": HISTOGRAM, "service": service, "http_response_status_code": "200"}])


def _tempo(service: str) -> TempoServer:
    at = NOON.timestamp() - 60
    return TempoServer(
        [
            StoredTrace(trace_id(number + 10 * len(service)), at, 100 * number, (service,), frozenset({service}))
            for number in range(1, 5)
        ]
    )


def _write(loki: LocalLoki, service: str) -> None:
    loki.label_values = {"service_name": [service]}
    for number in range(3):
        time_ns = nanoseconds(NOON - timedelta(seconds=10 + number))
        loki.lines.append((time_ns, {"service_name": service}, f"level=error {service} refused order {number}"))


async def test_one_request_answers_what_an_incident_did_to_every_service(api, regions, incident_in_both):
    answer = await api(EVERYTHING, id=incident_in_both)
    assert answer.keys() == {"data"}, answer
    found = answer["data"]["incident"]
    assert [series["name"] for series in found["metrics"]] == [
        "checkout error_ratio",
        "payment error_ratio",
        "checkout latency_p95",
        "payment latency_p95",
    ]
    assert len(found["logs"]) == 6
    assert {service["name"]: service["logPatterns"] for service in found["services"]} == {
        name: [{"template": f"level=error {name} refused order <_>", "count": 3}] for name in ("checkout", "payment")
    }
    assert [trace["durationSeconds"] for trace in found["traces"]] == [0.4, 0.4, 0.3, 0.3, 0.2]


async def test_an_instance_that_fails_costs_its_own_services_and_is_named_in_a_warning(api, regions, incident_in_both):
    eu = regions["eu"]
    eu.prometheus.refused = "payment"
    eu.loki.refusal = (500, "out of memory")
    eu.tempo.refusal = (500, b"no disk")
    answer = await api(EVERYTHING, id=incident_in_both)
    found = answer["data"]["incident"]
    assert [series["name"] for series in found["metrics"]] == ["checkout error_ratio", "checkout latency_p95"]
    assert {line["line"].split()[1] for line in found["logs"]} == {"checkout"}
    assert [trace["durationSeconds"] for trace in found["traces"]] == [0.4, 0.3, 0.2, 0.1]
    warnings = {
        (warning["path"][-1], warning["backend"], warning["code"]) for warning in answer["extensions"]["warnings"]
    }
    assert warnings == {
        ("metrics", "Prometheus", "TELEMETRY_BAD_QUERY"),
        ("logs", "Loki", "TELEMETRY_UNAVAILABLE"),
        ("traces", "Tempo", "TELEMETRY_UNAVAILABLE"),
    }
    [error] = answer["errors"]
    assert error["path"] == ["incident", "services", 1, "logPatterns"], "a field of one service has nothing left"


async def test_where_every_instance_fails_the_field_is_an_error(api, regions, incident_in_both):
    for region in regions.values():
        region.loki.refusal = (500, "out of memory")
    answer = await api(
        f"query($id: ID!) {{ incident(id: $id) {{ title logs(range: {RANGE}) {{ line }} }} }}", id=incident_in_both
    )
    assert answer["data"]["incident"] == {"title": "Checkout is failing", "logs": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["TELEMETRY_UNAVAILABLE"]
    assert "extensions" not in answer
