"""The explorer in a real browser, used as a person would use it."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.http.explorer import DIST
from tests.node.fixtures import Node

SECRET = "do-not-keep-this"


@dataclass(frozen=True)
class Visit:
    """What one visit to the explorer showed and recorded; see tests/node/explorer.mjs."""

    title: str
    first: dict[str, Any]
    suggested: list[str]
    typed: dict[str, Any]
    headers: dict[str, str]
    stored: dict[str, str]
    requests: list[str]
    failures: list[str]
    complaints: list[str]
    violations: list[str]
    workers: list[str]


@pytest.fixture(scope="session")
async def visit(node: Node, chromium: str, server_url: str) -> Visit:
    """Run the query that is there, set a header, type `query Typed { incidents`, accept the suggestion, complete and run it."""
    if not (DIST / "index.html").exists():
        pytest.skip("the explorer is not built; run: make explorer")
    header, start, rest = json.dumps({"X-Secret": SECRET}), "query Typed { incidents", "(first: 1) { totalCount nodes { title } }"
    return Visit(**await node.run("explorer.mjs", chromium, server_url, header, start, rest))


async def test_a_query_that_is_typed_and_run_shows_its_data(visit: Visit, server_url: str) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        query = "{ incidents(first: 1) { totalCount nodes { title } } }"  # Few lines: only what is in sight is rendered.
        expected = (await client.post(f"{server_url}/graphql", json={"query": query})).json()

    assert expected["data"]["incidents"]["totalCount"] >= 1
    assert json.loads(visit.typed["shown"]) == expected


async def test_the_query_that_is_there_at_first_runs_without_an_error(visit: Visit) -> None:
    assert "errors" not in visit.first["answered"]
    assert "nodes" in visit.first["answered"]["data"]["incidents"]


async def test_the_editor_suggests_the_fields_of_the_schema(visit: Visit) -> None:
    assert "incidents" in visit.suggested


async def test_the_page_carries_the_name_of_the_product(visit: Visit) -> None:
    assert visit.title == "Reliability Studio"


async def test_everything_comes_from_the_server_itself(visit: Visit, server_url: str) -> None:
    strangers = [url for url in visit.requests if urlsplit(url).netloc != urlsplit(server_url).netloc]

    assert strangers == []
    assert visit.failures == []


async def test_workers_are_files_that_the_policy_allows(visit: Visit, server_url: str) -> None:
    kinds = {url.removeprefix(f"{server_url}/graphql/assets/").partition("-")[0] for url in visit.workers}

    assert kinds == {"editor.worker", "graphql.worker", "json.worker"}


async def test_nothing_breaks_the_policy_or_complains_in_the_console(visit: Visit) -> None:
    assert visit.violations == []
    assert visit.complaints == []


async def test_a_header_goes_with_the_request_and_is_kept_nowhere(visit: Visit) -> None:
    assert visit.headers["x-secret"] == SECRET
    assert any("query Typed" in value for value in visit.stored.values())
    assert SECRET not in json.dumps(visit.stored)
