"""The compiler is held against ordinary execution: the same document on the same data gives the same answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolvers.compile.arguments import Uncompilable
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.resolvers.awkward_rows import awkward_rows
from tests.resolvers.awkward_values import TIMES
from tests.resolvers.client import Client, ordered
from tests.resolvers.documents import requests
from tests.resolvers.values import Values
from tests.telemetry_clients.local_server import Request, http_answer, local_server
from tests.telemetry_clients.tempo_server import StoredTrace, TempoServer, trace_id

NOTHING_TO_READ = "Nothing here comes from the database"
MIXED_INTERFACE = "An interface with values of other backends"
EXAMPLES = settings.default.max_examples


@pytest.fixture(scope="session")
async def telemetry() -> AsyncIterator[Telemetry]:
    """A Prometheus that has heard of every service, whatever it is asked, and a Tempo with traces of each."""
    names = [row["name"] for row in awkward_rows()["services"]]
    metric = "http_server_request_duration_seconds_count"
    known = [{"metric": {"__name__": metric, "service": name, "code": "200"}, "value": [1, "1"]} for name in names]
    series = [{"metric": {"service": name}, "values": [[1772323200.5, "0.5"], [1772323215, "NaN"]]} for name in names]
    vector = orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": known}})
    matrix = orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})

    services = [(row["selectors"] or {}).get("tempo") or row["name"] for row in awkward_rows()["services"]]
    traces = [
        StoredTrace(trace_id(number), time.timestamp(), number * 40, [service, "x"], frozenset(["x"][: number % 2]))
        for number, (service, time) in enumerate(product(services, TIMES), start=1)
    ]

    async def behaviour(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(matrix if request.path.endswith("query_range") else vector))

    async with (
        local_server(behaviour) as server,
        local_server(TempoServer(traces)) as tempo_server,
        Transport(Endpoint(backend="Prometheus", url=server.url)) as transport,
        Transport(Endpoint(backend="Tempo", url=tempo_server.url)) as tempo_transport,
    ):
        prometheus = Prometheus(transport)
        tempo = Tempo(tempo_transport, longest_search_seconds=1e12)
        yield Telemetry(
            prometheus=Instances("Prometheus", {DEFAULT: prometheus, "eu": prometheus}),
            tempo=Instances("Tempo", {DEFAULT: tempo, "eu": tempo}),
        )


@settings(max_examples=EXAMPLES * 3)
@given(data=st.data())
async def test_a_valid_document_is_one_statement_with_the_answer_of_ordinary_execution(
    data: st.DataObject, client: Client, values: Values
):
    request = data.draw(requests(client.operations, values))
    expected = await client.ordinary(*request)
    try:
        found = await client.compiled(*request)
    except Uncompilable as reason:
        if str(reason) != NOTHING_TO_READ:
            raise
        found = await client.answer(*request)
    assert ordered(found) == ordered(expected)
    assert b'"errors"' not in found[:10]


@settings(max_examples=EXAMPLES * 2)
@given(data=st.data())
async def test_a_document_with_mistakes_has_the_errors_of_ordinary_execution(
    data: st.DataObject, client: Client, values: Values
):
    request = data.draw(requests(client.operations, values, mistakes=True))
    expected = await client.ordinary(*request)
    found = await client.answer(*request)
    assert ordered(found) == ordered(expected)
    assert b"INTERNAL_SERVER_ERROR" not in found


@given(data=st.data())
async def test_a_document_that_asks_other_backends_too_has_the_answer_of_ordinary_execution(
    data: st.DataObject, client: Client, values: Values, telemetry: Telemetry
):
    request = data.draw(requests(client.operations, values, mixed=True))
    asking = replace(client, telemetry=data.draw(st.sampled_from((telemetry, Telemetry()))))
    expected = await asking.ordinary(*request)
    try:
        asking.statement(*request)
    except Uncompilable as reason:
        if str(reason) not in {NOTHING_TO_READ, MIXED_INTERFACE}:
            raise
    found = await asking.answer(*request)
    assert ordered(found) == ordered(expected)
    assert b"INTERNAL_SERVER_ERROR" not in found
