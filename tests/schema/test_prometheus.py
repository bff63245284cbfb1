"""PromQL through the root field `prometheus`, from a Prometheus at the network's edge."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import orjson
import pytest

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import NOON, Api
from tests.telemetry_clients.local_server import LocalServer, Request, http_answer, local_server

RANGE = 'range: { from: "2026-03-01T11:00:00Z", to: "2026-03-01T12:00:00Z" }'


@pytest.fixture
async def server(api: Api) -> AsyncIterator[LocalServer]:
    async def nothing(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(b"{}"))

    async with (
        local_server(nothing) as server,
        Transport(Endpoint(backend="Prometheus", url=server.url)) as transport,
    ):
        api.telemetry = Telemetry(prometheus=Instances("Prometheus", {DEFAULT: Prometheus(transport)}))
        yield server


@pytest.fixture
def answers(server: LocalServer) -> Callable[..., None]:
    def answer(kind: str, result: object, **more: object) -> None:
        body = orjson.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})

        async def behaviour(_request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(http_answer(body))

        server.behaviour = behaviour

    return answer


async def test_without_a_range_promql_is_evaluated_at_the_time_of_the_request(api, server, answers):
    answers("vector", [{"metric": {"job": "a"}, "value": [1772366400, "2"]}], infos=["not a counter"])
    answer = await api('{ prometheus(query: "up") { kind stepSeconds text series { labels points { value time } } } }')
    assert answer == {
        "data": {
            "prometheus": {
                "kind": "VECTOR",
                "stepSeconds": None,
                "text": None,
                "series": [{"labels": {"job": "a"}, "points": [{"value": 2.0, "time": "2026-03-01T12:00:00+00:00"}]}],
            }
        },
        "extensions": {"warnings": [{"path": ["prometheus"], "backend": "Prometheus", "message": "not a counter"}]},
    }
    assert server.requests[0].parameters["time"] == ["1772366400.000"]


async def test_over_a_range_the_step_is_chosen_and_said(api, server, answers):
    answers("matrix", [{"metric": {}, "values": [[1772366400, "2"]]}])
    answer = await api(f'{{ prometheus(query: "up", {RANGE}) {{ kind stepSeconds }} }}')
    assert answer["data"]["prometheus"] == {"kind": "MATRIX", "stepSeconds": 15}
    assert server.requests[0].parameters["step"] == ["15"]


@pytest.mark.parametrize(
    ("kind", "result", "series", "text"),
    [
        ("scalar", [1, "42"], [{"labels": {}, "points": [{"value": 42.0}], "histograms": []}], None),
        ("string", [1, "hello"], [], "hello"),
    ],
)
async def test_scalars_are_one_series_and_strings_a_text(api, answers, kind, result, series, text):
    answers(kind, result)
    answer = await api('{ prometheus(query: "x") { kind text series { labels points { value } histograms { sum } } } }')
    assert answer["data"]["prometheus"] == {"kind": kind.upper(), "text": text, "series": series}


async def test_native_histograms_have_their_buckets(api, answers):
    histogram = {"count": "3", "sum": "1.5", "buckets": [[0, "0.25", "0.5", "2"], [0, "0.5", "+Inf", "1"]]}
    answers("vector", [{"metric": {}, "histogram": [1772366400, histogram]}])
    answer = await api(
        """{ prometheus(query: "x") { series { points { value } histograms {
          time count sum buckets { lower upper count includesLower includesUpper }
        } } } }"""
    )
    assert answer["data"]["prometheus"]["series"] == [
        {
            "points": [],
            "histograms": [
                {
                    "time": "2026-03-01T12:00:00+00:00",
                    "count": 3.0,
                    "sum": 1.5,
                    "buckets": [
                        {"lower": 0.25, "upper": 0.5, "count": 2.0, "includesLower": False, "includesUpper": True},
                        {"lower": 0.5, "upper": None, "count": 1.0, "includesLower": False, "includesUpper": True},
                    ],
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "words", "path"),
    [
        ('query: " "', "must not be empty", ["query"]),
        ('query: "up", stepSeconds: 5', "needs a `range`", ["stepSeconds"]),
        (f'query: "up", {RANGE}, stepSeconds: 0', "at least 1", ["stepSeconds"]),
        (
            'query: "up", range: { from: "2026-03-02T00:00:00Z", to: "2026-03-03T00:00:00Z" }',
            "in the future",
            ["range", "from"],
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_before_any_call(api, server, arguments, words, path):
    [error] = (await api(f"{{ prometheus({arguments}) {{ kind }} }}"))["errors"]
    assert words in error["message"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argumentPath": path}
    assert server.requests == []


async def test_an_instance_that_nobody_configured_is_said_to_be_missing(api, server):
    answer = await api('{ prometheus(query: "up", instance: "mars") { kind } services { totalCount } }')
    [error] = answer["errors"]
    assert error["extensions"]["code"] == "TELEMETRY_NOT_CONFIGURED"
    assert "Configured are: default" in error["message"]
    assert answer["data"] == {"prometheus": None, "services": {"totalCount": 0}}


async def test_all_who_look_at_a_range_that_ends_now_within_one_step_ask_the_same(api, server, answers):
    answers("matrix", [])
    for late_seconds in (0, 7, 13):
        api.now = NOON + timedelta(seconds=late_seconds)
        end, start = api.now.isoformat(), (api.now - timedelta(hours=1)).isoformat()
        await api(f'{{ prometheus(query: "up", range: {{ from: "{start}", to: "{end}" }}) {{ kind }} }}')
    assert {(*request.parameters["start"], *request.parameters["end"]) for request in server.requests} == {
        ("1772362800.000", "1772366400.000"),
        ("1772362815.000", "1772366400.000"),
    }
