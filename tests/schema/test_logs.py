"""Logs of services and incidents, their patterns, and LogQL: end to end, against a local Loki."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from telemetry_clients.instances import Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.loki.answers import nanoseconds
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import NOON, Api
from tests.telemetry_clients.local_server import local_server
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.telemetry_clients.recorded import Recorded, recording

FROM, TO = "2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z"
START_NS = nanoseconds(NOON - timedelta(hours=1))
RANGE = f'range: {{ from: "{FROM}", to: "{TO}" }}'
TRACE = "a748dbcfac619e630dde29a6baa4b71a"


@pytest.fixture
async def loki(api: Api) -> AsyncIterator[LocalLoki]:
    async with local_loki() as server, Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        api.telemetry = Telemetry(loki=Instances("Loki", {"default": Loki(transport)}))
        server.label_values = {"service_name": ["checkout", "payment", "search"]}
        yield server


@pytest.fixture
async def checkout(api: Api) -> None:
    await service(api, "checkout")


async def service(api: Api, name: str, **known: Any) -> None:
    await api.changed("createService", "service { id }", input={"name": name, **known})


def write(loki: LocalLoki, seconds: float, name: str, line: str, **labels: str) -> None:
    loki.lines.append((START_NS + int(seconds * 1e9), {"service_name": name, **labels}, line))


async def logs(api: Api, arguments: str = "", name: str = "checkout") -> list[dict[str, Any]]:
    answer = await api(
        f'{{ serviceByName(name: "{name}") {{ logs({RANGE} {arguments}) {{ time line level labels traceId }} }} }}'
    )
    assert answer.keys() == {"data"}, answer
    found: list[dict[str, Any]] = answer["data"]["serviceByName"]["logs"]
    return found


async def test_lines_have_their_time_level_labels_and_trace_the_latest_first(api, loki, checkout):
    write(loki, 1, "checkout", "level=warn slow", pod="a")
    write(loki, 2.5, "checkout", json.dumps({"level": "error", "trace_id": TRACE}), detected_level="error")
    write(loki, 3, "payment", "not ours")
    assert await logs(api) == [
        {
            "time": "2026-03-01T11:00:02.5+00:00",
            "line": f'{{"level": "error", "trace_id": "{TRACE}"}}',
            "level": "ERROR",
            "labels": {"service_name": "checkout", "detected_level": "error"},
            "traceId": TRACE,
        },
        {
            "time": "2026-03-01T11:00:01+00:00",
            "line": "level=warn slow",
            "level": "WARN",
            "labels": {"service_name": "checkout", "pod": "a"},
            "traceId": None,
        },
    ]


async def test_a_level_is_found_whether_or_not_loki_knows_it(api, loki, checkout):
    write(loki, 1, "checkout", "known to Loki", detected_level="error")
    write(loki, 2, "checkout", "ERROR in the line", detected_level="unknown")
    write(loki, 3, "checkout", "level=error in a field")
    write(loki, 4, "checkout", "level=info all is well")
    write(loki, 5, "checkout", "known as well", detected_level="info")
    write(loki, 6, "checkout", "panic: no", detected_level="critical")
    found = await logs(api, "level: [ERROR]")
    assert [line["line"] for line in found] == ["level=error in a field", "ERROR in the line", "known to Loki"]
    assert [line["line"] for line in await logs(api, "level: [FATAL, INFO] first: 2")] == ["panic: no", "known as well"]
    assert await logs(api, "level: []") == []


async def test_enough_lines_of_a_level_are_found_behind_many_of_others(api, loki, checkout):
    for i in range(300):
        write(loki, i, "checkout", f"level={'error' if i % 100 == 0 else 'info'} {i}")
    found = await logs(api, "level: [ERROR] first: 3")
    assert [line["line"] for line in found] == ["level=error 200", "level=error 100", "level=error 0"]


async def test_a_search_that_has_to_stop_says_so(api, loki, checkout):
    loki.lines = [(START_NS + i, {"service_name": "checkout"}, "level=info") for i in range(37_000)]
    selection = f"logs({RANGE} level: [ERROR] first: 1) {{ line }}"
    answer = await api(f'{{ serviceByName(name: "checkout") {{ {selection} }} }}')
    assert answer["data"]["serviceByName"]["logs"] == []
    [warning] = answer["extensions"]["warnings"]
    assert (warning["path"], warning["backend"]) == (["serviceByName", "logs"], "Loki")
    assert "There may be more" in warning["message"]


async def test_search_is_a_text_and_no_pattern_and_changes_nothing_else(api, loki, checkout):
    hostile = 'a"} or {x="'
    write(loki, 1, "checkout", f"found {hostile} here")
    write(loki, 2, "checkout", "found a.b here")
    write(loki, 3, "checkout", "found aXb here")
    for text in (hostile, "a.b"):
        [line] = await logs(api, f"search: {json.dumps(text)}")
        assert text in line["line"]


async def test_a_hostile_service_name_cannot_change_the_query(api, loki):
    hostile = 'a"} or {service_name="payment'
    await service(api, hostile)
    write(loki, 1, "payment", "secret")
    write(loki, 2, hostile, "ours")
    answer = await api(f"query($n: String!) {{ serviceByName(name: $n) {{ logs({RANGE}) {{ line }} }} }}", n=hostile)
    assert answer["data"]["serviceByName"]["logs"] == [{"line": "ours"}]


async def test_declared_selectors_are_taken_instead(api, loki):
    await service(api, "checkout", selectors={"loki": {"app": "co", "env": "prod"}})
    loki.lines.append((START_NS, {"app": "co", "env": "prod"}, "ours"))
    loki.lines.append((START_NS, {"app": "co", "env": "test"}, "not ours"))
    assert [line["line"] for line in await logs(api)] == ["ours"]
    assert loki.asked_for("/labels") == []


async def test_the_logs_of_many_services_are_one_query_and_each_gets_its_own(api, loki):
    names = [f"service-{i}" for i in range(20)]
    loki.label_values["service_name"] = names
    for i, name in enumerate(names):
        await service(api, name)
        for j in range(3):
            write(loki, 100 * i + j, name, f"{name} {j}")
    answer = await api(f"{{ services(first: 50) {{ nodes {{ name logs({RANGE} first: 2) {{ line }} }} }} }}")
    found = {node["name"]: [line["line"] for line in node["logs"]] for node in answer["data"]["services"]["nodes"]}
    assert found == {name: [f"{name} 2", f"{name} 1"] for name in names}
    queries = loki.asked_for("/query_range")
    assert len(queries) <= 2, "the second for those that had not enough in the first"


async def test_a_service_that_talks_much_takes_nothing_from_one_that_talks_little(api, loki):
    for name in ("checkout", "search"):
        await service(api, name)
    write(loki, 0, "search", "quiet")
    for i in range(1500):
        write(loki, 1 + i, "checkout", f"loud {i}")
    answer = await api(f"{{ services {{ nodes {{ name logs({RANGE} first: 10) {{ line }} }} }} }}")
    found = {node["name"]: len(node["logs"]) for node in answer["data"]["services"]["nodes"]}
    assert found == {"checkout": 10, "search": 1}
    assert 'service_name="search"' in loki.asked_for("/query_range")[-1]["query"]


async def test_the_logs_of_an_incident_are_one_query_for_all_its_services(api, loki):
    known = {"title": "Down", "severity": "HIGH", "services": ["checkout", "payment"]}
    api.now = NOON - timedelta(minutes=50)
    await api.changed("createIncident", "incident { id }", input=known)
    api.now = NOON
    write(loki, 600, "checkout", "one")
    write(loki, 601, "payment", "two")
    write(loki, 602, "search", "not hurt")
    write(loki, 603, "checkout", "three")
    answer = await api("{ incidents { nodes { logs(first: 2) { line } } } }")
    assert answer["data"]["incidents"]["nodes"] == [{"logs": [{"line": "three"}, {"line": "two"}]}]
    [query] = loki.asked_for("/query_range")
    assert query["query"] == '{service_name=~"checkout|payment"}'


async def test_patterns_are_lokis_own_with_a_line_each(api, loki, checkout):
    for i in range(5):
        write(loki, i, "checkout", f"level=error order={i} failed")
    write(loki, 9, "checkout", "level=info ok")
    at = int(START_NS // 1e9)
    loki.patterns = [
        {"pattern": "level=error order=<_> failed", "level": "error", "samples": [[at, 2], [at + 10, 3]]},
        {"pattern": "level=info ok", "level": "", "samples": [[at, 1]]},
        {"pattern": "gone <_>", "level": "info", "samples": [[at, 7]]},
    ]
    answer = await api(
        f"""{{ serviceByName(name: "checkout") {{ logPatterns({RANGE}) {{
            template count level firstSeenAt lastSeenAt sample {{ line level }} }} }} }}"""
    )
    assert answer["data"]["serviceByName"]["logPatterns"] == [
        {
            "template": "level=error order=<_> failed",
            "count": 5,
            "level": "ERROR",
            "firstSeenAt": "2026-03-01T11:00:00+00:00",
            "lastSeenAt": "2026-03-01T11:00:10+00:00",
            "sample": {"line": "level=error order=4 failed", "level": "ERROR"},
        },
        {
            "template": "level=info ok",
            "count": 1,
            "level": "INFO",
            "firstSeenAt": "2026-03-01T11:00:00+00:00",
            "lastSeenAt": "2026-03-01T11:00:00+00:00",
            "sample": {"line": "level=info ok", "level": "INFO"},
        },
    ]


@pytest.mark.parametrize("patterns", [None, []])
async def test_patterns_are_found_here_where_loki_has_none(api, loki, checkout, patterns):
    loki.patterns = patterns
    for i in range(5):
        write(loki, i, "checkout", f"level=error order={i} failed")
    write(loki, 9, "checkout", "level=info ok")
    fields = "template count level firstSeenAt sample { line }"
    document = f'{{ serviceByName(name: "checkout") {{ logPatterns({RANGE} %s) {{ {fields} }} }} }}'
    failed = {
        "template": "level=error order=<_> failed",
        "count": 5,
        "level": "ERROR",
        "firstSeenAt": "2026-03-01T11:00:00+00:00",
        "sample": {"line": "level=error order=0 failed"},
    }
    answer = await api(document % "")
    found = answer["data"]["serviceByName"]["logPatterns"]
    assert found[0] == failed
    assert [pattern["template"] for pattern in found] == ["level=error order=<_> failed", "level=info ok"]
    answer = await api(document % "level: [ERROR, FATAL]")
    assert answer["data"]["serviceByName"]["logPatterns"] == [failed]


async def test_logql_gives_streams_or_series_whichever_it_is(api):
    played = [recording("loki", name) for name in ("query_range_parsed", "query_range_metric")]
    recorded = Recorded([*played], ignoring=("direction", "limit", "step", "start", "end"))
    async with local_server(recorded) as server, Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        api.telemetry = Telemetry(loki=Instances("Loki", {"default": Loki(transport)}))
        document = f"""query($q: String!) {{ loki(query: $q, {RANGE}, first: 5) {{
            streams {{ labels entries {{ line level traceId }} }}
            series {{ name labels points {{ time value }} }} }} }}"""
        recorded.exchanges = [
            type(each)(each.name, {**each.request, "params": {"query": each.parameters["query"]}}, each.response)
            for each in played
        ]
        lines = (await api(document, q=played[0].parameters["query"]))["data"]["loki"]
        numbers = (await api(document, q=played[1].parameters["query"]))["data"]["loki"]
        assert recorded.unknown == []
    assert lines["series"] is None
    assert sum(len(stream["entries"]) for stream in lines["streams"]) == 5
    entry = lines["streams"][0]["entries"][0]
    assert (entry["level"], len(entry["traceId"])) == ("ERROR", 32)
    assert numbers["streams"] is None
    assert numbers["series"][0]["name"] == "level=error, service_name=checkout"
    assert numbers["series"][0]["points"][0]["value"] == 7


@pytest.mark.parametrize(
    ("field", "path"),
    [
        (f'logs(range: {{ from: "{TO}", to: "{FROM}" }})', ["range"]),
        (
            'logs(range: { from: "2026-03-02T00:00:00Z", to: "2026-03-03T00:00:00Z" })',
            ["range", "from"],
        ),
        (f"logs({RANGE} first: 0)", ["first"]),
        (f"logs({RANGE} first: 5001)", ["first"]),
        (f"logPatterns({RANGE} first: -1)", ["first"]),
    ],
)
async def test_what_cannot_be_answered_is_refused_before_any_call(api, loki, checkout, field, path):
    subselection = "{ template }" if "Patterns" in field else "{ line }"
    answer = await api(f'{{ serviceByName(name: "checkout") {{ name field: {field} {subselection} }} }}')
    assert answer["data"] == {"serviceByName": {"name": "checkout", "field": None}}
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "argumentPath": path}
    assert loki.asked == []


@pytest.mark.parametrize(
    ("refusal", "code", "words"),
    [
        ((400, "parse error at line 1, col 12: syntax error: unexpected |="), "TELEMETRY_BAD_QUERY", "line 1, col 12"),
        (
            (400, "the query time range exceeds the limit (query length: 1666h, limit: 30d1h)"),
            "TELEMETRY_LIMITED",
            "30d1h",
        ),
        ((429, "too many outstanding requests"), "TELEMETRY_LIMITED", "too many outstanding"),
        ((503, "starting"), "TELEMETRY_UNAVAILABLE", "starting"),
        ((401, "no org id"), "TELEMETRY_NOT_CONFIGURED", "no org id"),
    ],
)
async def test_loki_that_refuses_costs_its_own_field_and_says_why(api, loki, checkout, refusal, code, words):
    loki.refusal = refusal
    answer = await api(
        f'{{ serviceByName(name: "checkout") {{ name }} loki(query: "x", {RANGE}) {{ series {{ name }} }} }}'
    )
    assert answer["data"] == {"serviceByName": {"name": "checkout"}, "loki": None}
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["loki"], code)
    assert words in error["message"]


async def test_a_loki_that_hangs_costs_its_own_fields_within_the_deadline(api, loki, checkout):
    loki.hangs = True
    api.timeout_seconds = 1.0
    answer = await api(f'{{ serviceByName(name: "checkout") {{ name logs({RANGE}) {{ line }} }} }}')
    assert answer["data"] == {"serviceByName": {"name": "checkout", "logs": None}}
    assert answer["errors"][0]["extensions"]["code"] == "TELEMETRY_TIMEOUT"


async def test_without_loki_the_field_says_what_to_set(api, checkout):
    answer = await api(f'{{ serviceByName(name: "checkout") {{ logs({RANGE}) {{ line }} }} }}')
    assert answer["errors"][0]["extensions"]["code"] == "TELEMETRY_NOT_CONFIGURED"
    assert "LOKI_URL" in answer["errors"][0]["message"]
