"""What a browser gets from the endpoint's address, before any script runs."""

import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.http.explorer import explorer_assets, explorer_page

PAGE = '<!doctype html><title>Reliability Studio</title><script src="./graphql/assets/index-1a2b3c.js"></script>'
SCRIPT = 'console.log("loaded");' * 100


def browser(dist: Path) -> httpx.AsyncClient:
    def page(request: Request) -> Response:
        return explorer_page(request, dist)

    app = Starlette(routes=[Route("/graphql", page), explorer_assets(dist)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    assets = tmp_path / "graphql" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "licenses.md").write_text("MIT")
    (assets / "index-1a2b3c.js").write_text(SCRIPT)
    return tmp_path


def policy(response: httpx.Response) -> dict[str, str]:
    directives = (directive.partition(" ") for directive in response.headers["content-security-policy"].split("; "))
    return {name: sources for name, _, sources in directives}


async def test_the_page_may_load_nothing_from_anywhere_else(dist: Path) -> None:
    async with browser(dist) as client:
        response = await client.get("/graphql")

    assert (response.status_code, response.text) == (200, PAGE)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    directives = policy(response)
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["worker-src"] == directives["connect-src"] == "'self'"
    assert directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert not re.search(r"https?:|blob:|\*|unsafe-eval", response.headers["content-security-policy"])


async def test_the_page_is_asked_for_anew_because_the_next_build_replaces_its_files(dist: Path) -> None:
    async with browser(dist) as client:
        response = await client.get("/graphql")

    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["vary"] == "Accept"


async def test_files_are_kept_for_good_because_their_names_change_with_their_content(dist: Path) -> None:
    async with browser(dist) as client:
        response = await client.get("/graphql/assets/index-1a2b3c.js")

    assert (response.status_code, response.text) == (200, SCRIPT)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-encoding"] == "gzip"


async def test_a_worker_is_held_to_the_policy_of_the_page(dist: Path) -> None:
    async with browser(dist) as client:
        page, worker = await client.get("/graphql"), await client.get("/graphql/assets/index-1a2b3c.js")

    assert policy(worker) == policy(page)


@pytest.mark.parametrize("path", ["nothing.js", "../../index.html", "%2e%2e/%2e%2e/licenses.md", "%00", "", "a" * 300])
async def test_only_the_built_files_are_served(dist: Path, path: str) -> None:
    async with browser(dist) as client:
        response = await client.get(f"/graphql/assets/{path}")

    assert response.status_code == 404


async def test_an_explorer_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    async with browser(tmp_path / "missing") as client:
        page, asset = await client.get("/graphql"), await client.get("/graphql/assets/index-1a2b3c.js")

    assert page.status_code == 200
    assert "<code>make explorer</code>" in page.text
    assert policy(page)["default-src"] == "'none'"
    assert asset.status_code == 404


async def test_an_explorer_built_while_the_server_runs_is_served_from_then_on(tmp_path: Path, dist: Path) -> None:
    later = tmp_path / "later"
    async with browser(later) as client:
        before = await client.get("/graphql/assets/index-1a2b3c.js")
        later.symlink_to(dist)
        after = await client.get("/graphql/assets/index-1a2b3c.js")

    assert (before.status_code, after.status_code) == (404, 200)
