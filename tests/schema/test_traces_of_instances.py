"""Traces in GraphQL where there are several Tempos: each service is known to one of them."""

from collections.abc import AsyncIterator

import pytest

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import Api
from tests.schema.tempo_backend import (
    HOUR,
    TempoBackend,
    by_service,
    create,
    numbers,
    stored,
    tempo_backend,
)
from tests.telemetry_clients.local_server import local_server
from tests.telemetry_clients.tempo_server import TempoServer, trace_id


@pytest.fixture
async def backend(api: Api) -> AsyncIterator[TempoBackend]:
    async with tempo_backend(api) as backend:
        yield backend


@pytest.fixture
async def abroad(api: Api, backend: TempoBackend) -> AsyncIterator[TempoServer]:
    """A second Tempo, called "eu"."""
    tempo = TempoServer()
    async with (
        local_server(tempo) as server,
        Transport(Endpoint(backend="Tempo", url=server.url)) as transport,
    ):
        home = api.telemetry.tempo.get()
        api.telemetry = Telemetry(tempo=Instances("Tempo", {DEFAULT: home, "eu": Tempo(transport)}))
        yield tempo


async def test_a_service_is_looked_for_in_the_tempo_that_knows_it(
    api: Api, backend: TempoBackend, abroad: TempoServer
) -> None:
    known = {"name": "billing", "telemetryInstances": {"tempo": "eu"}}
    await api.changed("createService", "service { id }", input=known)
    await create(api, "checkout")
    backend.tempo.traces = [stored(1, "billing", "checkout")]
    abroad.traces = [stored(2, "billing"), stored(3, "billing", "checkout")]

    assert await by_service(api) == {"billing": [2, 3], "checkout": [1]}
    assert (len(backend.tempo.searches), len(abroad.searches)) == (1, 1)


async def test_the_traces_of_an_incident_come_from_every_tempo_that_knows_its_services(
    api: Api, backend: TempoBackend, abroad: TempoServer, incident: str
) -> None:
    known = {"name": "billing", "telemetryInstances": {"tempo": "eu"}}
    billing = (await api.changed("createService", "service { id }", input=known))["id"]
    await api.changed("setServiceImpact", "incident { id }", incidentId=incident, serviceId=billing, level="SECONDARY")
    backend.tempo.traces = [stored(1, "checkout"), stored(3, "checkout"), stored(5, "checkout")]
    abroad.traces = [stored(2, "billing"), stored(4, "billing")]

    document = "query($id: ID!) { incident(id: $id) { traces(first: 4) { traceId spans { service } } } }"
    traces = (await api(document, id=incident))["data"]["incident"]["traces"]
    assert numbers(traces) == [1, 2, 3, 4]
    assert [trace["spans"][0]["service"] for trace in traces] == ["checkout", "billing", "checkout", "billing"]


async def test_a_trace_is_found_by_its_id_in_whichever_tempo_has_it(
    api: Api, backend: TempoBackend, abroad: TempoServer
) -> None:
    abroad.traces = [stored(7, "billing")]
    backend.tempo.broken = frozenset([trace_id(7), trace_id(8)])
    by_id = "query($id: ID!) { tempo(traceId: $id) { rootService } }"

    assert await api(by_id, id="7") == {"data": {"tempo": {"rootService": "billing"}}}
    assert (await api(by_id, id="8"))["errors"][0]["extensions"]["code"] == "TELEMETRY_UNAVAILABLE"
    assert await api(by_id, id="9") == {"data": {"tempo": None}}


async def test_a_search_can_name_its_tempo(api: Api, backend: TempoBackend, abroad: TempoServer) -> None:
    abroad.traces = [stored(7, "billing")]
    document = """query($range: TimeRange!, $instance: String) {
      traceSearch(query: "{ }", range: $range, instance: $instance) { traceId }
    }"""

    assert numbers((await api(document, **HOUR, instance="eu"))["data"]["traceSearch"]) == [7]
    assert numbers((await api(document, **HOUR))["data"]["traceSearch"]) == []
    [error] = (await api(document, **HOUR, instance="mars"))["errors"]
    assert error["message"] == "No Tempo called 'mars' is configured. Configured are: default, eu."
