"""Texts that want to be more than texts: in SQL, in GraphQL, in PromQL, LogQL and TraceQL.

`SECURITY_TEST_EXAMPLES` multiplies how much is tried, 1 by default.
"""

import asyncio
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import orjson
import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.embedded import EmbeddedPostgres
from db.tables import metadata
from tests.postgres import TEMPLATE, run_sql
from tests.schema.prometheus_backend import HISTOGRAM, PrometheusBackend
from tests.security.argument_sites import ID, Site, sites
from tests.servers import ROOT, ServerProcess
from tests.telemetry_clients.local_server import local_server
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.telemetry_clients.tempo_server import TempoServer

UNLIMITED = {"RATE_LIMIT_VIEWER": "0", "RATE_LIMIT_ADDRESS": "0"}
TIMES = int(os.environ.get("SECURITY_TEST_EXAMPLES", "1"))
MARK = "zzq"
"""Within each attack, so that what an answer repeats of it can be told from what it says by itself."""
ATTACKS = [
    f"{MARK}' OR '1'='1",
    f"{MARK}'; DROP TABLE incidents CASCADE; --",
    f"{MARK}'||(SELECT version())||'",
    f"{MARK}') UNION SELECT token_hash::text FROM api_tokens --",
    f'{MARK}" OR ""="',
    f"{MARK}$1 $$ $x$ %s %(a)s {{0}} :name ?",
    f"{MARK}\\'; SELECT pg_sleep(30); --",
    f"{MARK}\u2019 OR 1=1 \uff07 \u02bc",
    f'{MARK}") {{ __typename }} }} # ',
    f"{MARK}%' ESCAPE '\\",
    f"{MARK}::int[]",
    f"{MARK}\x00'",
]
JSON_ATTACKS = [
    {f"{MARK}'); DROP TABLE incidents; --": f"{MARK}'"},
    {f"{MARK}' -> 'a' = '1' OR '": [f"{MARK}'"]},
    [f"{MARK}'::jsonb || '"],
    {MARK: {"$ne": None}},
]
SAYS_TOO_MUCH = re.compile(
    r"syntax error at or near|SQLSTATE|\bselect\b[^\"]{1,200}\bfrom\b|insert into|asyncpg|sqlalchemy|psycopg|"
    r"Traceback|\.py\b|line \d+, in |invalid input syntax|relation \\?\"|column \\?\"|PostgreSQL|pg_catalog",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Target:
    """A server to attack, and how its database looks."""

    http: httpx.AsyncClient
    database_url: str
    id: str

    async def attack(self, site: Site, value: object) -> httpx.Response:
        request = orjson.dumps(site.request(value)).replace(orjson.dumps(ID), orjson.dumps(self.id))
        answer = await self.http.post("/graphql", content=request, headers={"Content-Type": "application/json"})
        where = f"{site.name} with {value!r}: {answer.text}"
        assert answer.status_code < 500, where
        assert answer.status_code != 429, where
        assert "INTERNAL_SERVER_ERROR" not in answer.text, where
        assert "GRAPHQL_VALIDATION_FAILED" not in answer.text, f"the attack itself is wrong: {where}"
        said = answer.text
        for text in _texts(value):
            said = said.replace(orjson.dumps(text)[1:-1].decode(), "").replace(text, "")
        # Python writes a text that it quotes in its own way.
        said = re.sub(rf"{MARK}[^\"]*", "", said)
        assert not SAYS_TOO_MUCH.search(said), where
        return answer

    async def rows(self) -> dict[str, int]:
        """How many rows there are in each table; fails where one is gone."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return {
                table.name: await connection.fetchval(f'select count(*) from "{table.name}"')
                for table in metadata.sorted_tables
            }
        finally:
            await connection.close()


STEADY = ("incidents", "services", "users", "teams", "api_tokens", "slos", "alerts", "detection_rules")
"""Tables that nothing changes but what somebody asks for."""


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for name, member in value.items():
                yield from (name, *_texts(member))
        case list():
            for member in value:
                yield from _texts(member)


@pytest.fixture(scope="module")
async def target(postgres: EmbeddedPostgres) -> AsyncIterator[Target]:
    """A server on a database of its own, with an incident and two services."""
    await run_sql(postgres.url, f"create database attacked template {TEMPLATE} strategy file_copy")
    url = postgres.url_of("attacked")
    async with (
        ServerProcess(DATABASE_URL=url, DETECTION_INTERVAL_SECONDS="0", **UNLIMITED) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        incident = {"title": "Checkout is slow", "severity": "high", "services": ["checkout", "payments"]}
        opened = (await http.post("/api/incidents", json=incident)).raise_for_status()
        yield Target(http, url, opened.json()["id"])


def values_for(site: Site, number: int) -> list[object]:
    """Some of the attacks, others for each site; all of them with more examples."""
    attacks: list[object] = JSON_ATTACKS if site.scalar == "JSON" else ATTACKS
    count = min(len(attacks), 2 * TIMES)
    return [attacks[(number * 2 + offset) % len(attacks)] for offset in range(count)]


QUERIES = [site for site in sites() if site.operation == "query"]
MUTATIONS = [site for site in sites() if site.operation == "mutation"]


def test_every_way_to_give_a_text_is_known() -> None:
    names = {site.name for site in sites()}

    assert {
        "query incidents(filter.search)",
        "query incidents(after)",
        "query serviceByName(name)",
        "query node(id)",
        "mutation createIncident(input.title)",
        "mutation createService(input.selectors.prometheus)",
    } <= names
    assert any(site.scalar == "ENUM" and "orderBy" in site.name for site in QUERIES)
    assert len(names) > 250


async def all_at(target: Target, places: list[Site]) -> None:
    attacks = [(site, value) for number, site in enumerate(places) for value in values_for(site, number)]
    for start in range(0, len(attacks), 16):
        await asyncio.gather(*(target.attack(site, value) for site, value in attacks[start : start + 16]))


async def test_no_query_breaks_out_of_a_text_and_none_changes_a_row(target: Target) -> None:
    before = await target.rows()
    await all_at(target, QUERIES)

    after = await target.rows()
    assert {table: after[table] for table in STEADY} == {table: before[table] for table in STEADY}


async def test_no_mutation_breaks_out_of_a_text_and_no_table_is_lost(target: Target) -> None:
    before = await target.rows()
    await all_at(target, MUTATIONS)
    after = await target.rows()

    assert after.keys() == before.keys()
    assert all(after[table] >= before[table] for table in ("incidents", "services", "timeline_events", "users"))


def _encoded(value: object) -> str:
    return urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(ATTACKS) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60 * TIMES)
@given(site=st.sampled_from([site for site in QUERIES if site.argument in ("after", "before")]), value=_json)
async def test_no_cursor_is_more_than_a_place(target: Target, site: Site, value: object) -> None:
    answer = await target.attack(site, _encoded(value))

    assert "data" in answer.json() or "errors" in answer.json()


@settings(max_examples=120 * TIMES)
@given(
    site=st.sampled_from([site for site in QUERIES if site.scalar != "JSON"]),
    attack=st.sampled_from(ATTACKS),
    text=st.text(max_size=30),
)
async def test_whatever_text_a_query_is_given_is_a_text(target: Target, site: Site, attack: str, text: str) -> None:
    await target.attack(site, attack + text)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("parameter", ["status", "severity", "service", "limit"])
async def test_no_parameter_of_a_rest_route_breaks_out(target: Target, parameter: str, attack: str) -> None:
    answer = await target.http.get("/api/incidents", params={parameter: attack})

    assert answer.status_code in (200, 400)
    assert not SAYS_TOO_MUCH.search(re.sub(rf"{MARK}[^\"]*", "", answer.text))
    assert answer.status_code == 400 or target.id not in {incident["id"] for incident in answer.json()}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_text_written_into_the_document_is_no_document(target: Target, attack: str) -> None:
    document = f"{{ serviceByName(name: {orjson.dumps(attack).decode()}) {{ name }} }}"
    answer = (await target.http.post("/graphql", json={"query": document})).json()

    found = (answer.get("data") or {}).get("serviceByName")
    assert found is None or found["name"].startswith(MARK)
    assert answer.keys() <= {"data", "errors"}
    assert "__typename" not in answer.get("data", {})


def test_nothing_that_serves_requests_starts_programs() -> None:
    folders = (
        "app/http",
        "app/auth",
        "schema",
        "resolvers",
        "actions",
        "feed",
        "telemetry_clients",
        "engines",
        "domain",
    )
    pattern = re.compile(r"subprocess|os\.(system|popen|exec|spawn)|\beval\(|\bexec\(|pickle|yaml\.(unsafe_)?load\(")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]

    assert len(files) > 200
    assert [str(file) for file in files if pattern.search(file.read_text())] == []


# What follows is about the languages of telemetry backends.

HOSTILE = [
    'x"} or {a="',
    'x"}) or vector(1) #',
    "x\\",
    'x\\"} or vector(1)',
    "`} | line_format `x",
    "x'} or {a=~'.+",
    "$selector $window ${x} {x} %s",
    ".*|.+",
    "x) || true || (x",
    'x" } || { resource.service.name =~ ".*',
    "caf\u00e9 \u4e2d \U0001f600",
    "\ufffd{}",
]
TELEMETRY = """
query($name: String!, $range: TimeRange!) {
  serviceByName(name: $name) {
    metrics(range: $range) { name }
    logs(range: $range, search: $name) { line }
    logPatterns(range: $range) { template }
    traces(range: $range, minDurationSeconds: 0.1) { traceId }
  }
}
"""
CREATE = "mutation($input: CreateServiceInput!) { createService(input: $input) { service { id } errors { message } } }"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\'(?:[^\'\\]|\\.)*\'')
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)


@dataclass(frozen=True)
class Backends:
    """Backends at the network's edge that keep what they are asked, and a server that asks them."""

    prometheus: PrometheusBackend
    loki: LocalLoki
    tempo: TempoServer
    http: httpx.AsyncClient

    async def asked_about(self, name: str) -> list[str]:
        """Make a service of this name known everywhere by it, and return all that its telemetry was asked by."""
        self.prometheus.metrics = [{"__name__": HISTOGRAM, "service": name, "http_response_status_code": "200"}]
        by_name = {
            "prometheus": {"service": name},
            "loki": {"app": name},
            "tempo": name,
            "signals": {"SATURATION": 'max(jobs{$selector,code!="$$"})'},
        }
        payload = {"query": CREATE, "variables": {"input": {"name": name, "selectors": by_name}}}
        made = (await self.http.post("/graphql", json=payload)).json()["data"]["createService"]
        assert made["errors"] == [], made
        for kept in (self.prometheus.asked, self.loki.asked, self.tempo.searches):
            kept.clear()
        between = {"from": "2026-03-01T11:00:00Z", "to": "2026-03-01T12:00:00Z"}
        variables = {"name": name, "range": between}
        answer = (await self.http.post("/graphql", json={"query": TELEMETRY, "variables": variables})).json()
        assert "INTERNAL_SERVER_ERROR" not in str(answer), answer
        asked = [query for path, query in self.prometheus.asked if path.endswith("query_range")]
        assert asked, answer
        loki = [parameters["query"] for _, parameters in self.loki.asked if "query" in parameters]
        assert loki, answer
        tempo = [search["q"] for search in self.tempo.searches]
        assert tempo, answer
        for query in asked:
            assert set(_matched(promql_parser.parse(query), "service")) == {name}, query
        return sorted({*asked, *loki, *tempo})


@pytest.fixture(scope="module")
async def backends(target: Target) -> AsyncIterator[Backends]:
    prometheus, tempo = PrometheusBackend([]), TempoServer()
    async with local_server(prometheus) as metrics, local_loki() as loki, local_server(tempo) as traces:
        settings_ = {"PROMETHEUS_URL": metrics.url, "LOKI_URL": loki.url, "TEMPO_URL": traces.url}
        quiet = UNLIMITED | {"DETECTION_INTERVAL_SECONDS": "0", "SERVICE_GRAPH_INTERVAL_SECONDS": "0"}
        async with (
            ServerProcess(DATABASE_URL=target.database_url, **settings_, **quiet) as server,
            httpx.AsyncClient(base_url=server.url, timeout=30) as http,
        ):
            yield Backends(prometheus, loki, tempo, http)


def _matched(expression: Any, label: str) -> Iterator[str]:
    """The values that an expression of PromQL wants a label to have."""
    if isinstance(expression, promql_parser.VectorSelector):
        for matcher in expression.matchers.matchers:
            if matcher.name == label:
                value = matcher.value
                is_regex = str(matcher.op) not in ("MatchOp.Equal", "MatchOp.NotEqual")
                yield re.sub(r"\\(.)", r"\1", value) if is_regex else value
        return
    for part in ("lhs", "rhs", "expr", "vector_selector", "param"):
        if (inner := getattr(expression, part, None)) is not None:
            yield from _matched(inner, label)
    for argument in getattr(expression, "args", None) or ():
        yield from _matched(argument, label)


def _unescaped(literal: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else {"n": "\n", "t": "\t"}.get(match[3], match[3])

    return _ESCAPE.sub(character, literal[1:-1])


def skeleton(query: str) -> str:
    """A query with nothing in its texts."""
    return _STRING.sub('""', query)


def texts(query: str) -> list[str]:
    """The texts of a query, as the backend understands them."""
    return [_unescaped(literal) for literal in _STRING.findall(query)]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_hostile_name_changes_no_query_and_arrives_whole(backends: Backends, hostile: str) -> None:
    harmless = await backends.asked_about(f"harmless {HOSTILE.index(hostile)}")
    asked = await backends.asked_about(hostile)

    assert {skeleton(query) for query in asked} == {skeleton(query) for query in harmless}
    for query in asked:
        regex = re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", hostile)
        assert {hostile, regex} & set(texts(query)), query
