"""What other people's web pages can make a browser do here, and what every answer tells browsers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from tests.security.signing import token
from tests.servers import ServerProcess

FORGED = 'mutation { createIncident(input: {title: "forged", severity: LOW}) { incident { id } } }'
QUERY = {"query": "{ __typename }"}
EXPECTED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
PAGE = {"Accept": "text/html"}
FOREIGN = "https://evil.example"
OURS = "https://studio.example"


@pytest.fixture
async def plain(server_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that adds nothing by itself."""
    async with httpx.AsyncClient(base_url=server_url, timeout=30) as client:
        yield client


@pytest.fixture
async def strict_plain(strict_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """The same, of a server that allows one origin."""
    async with httpx.AsyncClient(base_url=strict_server.url, timeout=30) as client:
        yield client


async def incident_count(client: httpx.AsyncClient) -> int:
    answer = await client.post("/graphql", json={"query": "{ incidents { totalCount } }"})
    return int(answer.json()["data"]["incidents"]["totalCount"])


class TestForgery:
    """Requests that a browser sends of any page without asking us (simple requests of the Fetch standard)."""

    @pytest.mark.parametrize(
        "content_type",
        [
            None,
            "text/plain",
            "text/plain; charset=application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
            "text/plain, application/json",
        ],
    )
    @pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
    @pytest.mark.parametrize("path", ["/graphql", "/api/incidents", "/api/webhooks/generic", "/v2/enqueue"])
    async def test_nothing_is_written_that_a_page_could_post_unasked(
        self, plain: httpx.AsyncClient, path: str, accept: str, content_type: str | None
    ) -> None:
        before = await incident_count(plain)
        mutation = orjson.dumps({"query": FORGED, "title": "forged", "severity": "low"})
        headers = {"Accept": accept, "Origin": FOREIGN} | ({"Content-Type": content_type} if content_type else {})
        answer = await plain.post(path, content=mutation, headers=headers)

        assert answer.status_code in (400, 415)
        assert await incident_count(plain) == before

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*", "image/webp,*/*"])
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Authorization": "Basic bWU6c2VjcmV0"},
            {"Content-Type": "text/plain"},
            {"Last-Event-ID": "1"},
            {"GraphQL-Require-Preflight": ""},
        ],
        ids=str,
    )
    async def test_a_query_in_a_url_needs_a_header_that_pages_cannot_send_unasked(
        self, strict_plain: httpx.AsyncClient, method: str, accept: str, headers: dict[str, str]
    ) -> None:
        answer = await strict_plain.request(method, "/graphql", params=QUERY, headers={"Accept": accept, **headers})

        assert answer.status_code in ((403,) if method == "GET" else (403, 406))
        if method == "GET":
            (error,) = answer.json()["errors"]
            assert error["extensions"]["code"] == "PREFLIGHT_REQUIRED"
            assert "GraphQL-Require-Preflight: 1" in error["message"]

    @pytest.mark.parametrize(
        "headers",
        [
            {"GraphQL-Require-Preflight": "1"},
            {"Apollo-Require-Preflight": "true"},
            {"X-Apollo-Operation-Name": "Find"},
            {"X-Requested-With": "XMLHttpRequest"},
            {"Content-Type": "application/json"},
            {"Sec-Fetch-Site": "same-origin"},
            {"Origin": OURS},
        ],
        ids=str,
    )
    async def test_with_one_it_is_answered(self, strict_plain: httpx.AsyncClient, headers: dict[str, str]) -> None:
        answer = await strict_plain.get("/graphql", params=QUERY, headers=headers)

        assert (answer.status_code, answer.json()) == (200, {"data": {"__typename": "Query"}})

    async def test_a_mutation_in_a_url_is_refused_whatever_comes_with_it(self, http: httpx.AsyncClient) -> None:
        before = await incident_count(http)
        for accept in ("application/json", "text/event-stream"):
            answer = await http.get("/graphql", params={"query": FORGED}, headers={"Accept": accept})
            assert answer.status_code == 405

        assert await incident_count(http) == before

    async def test_nobody_is_signed_in_by_a_form_of_another_page(self, closed: httpx.AsyncClient) -> None:
        for path in ("/api/auth/login", "/api/auth/refresh"):
            answer = await closed.post(path, content=b'{"email": "a", "password": "b"}', headers={"Origin": FOREIGN})

            assert answer.status_code == 415, path

    async def test_a_browser_still_opens_the_explorer(self, plain: httpx.AsyncClient) -> None:
        page = await plain.get("/graphql", headers={**PAGE, "Sec-Fetch-Site": "none"})

        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")


class TestOrigins:
    async def test_no_answer_lets_a_page_bring_credentials(
        self, strict_plain: httpx.AsyncClient, served_database_url: str
    ) -> None:
        async with (
            ServerProcess(DATABASE_URL=served_database_url, CORS_ALLOWED_ORIGINS="*") as running,
            httpx.AsyncClient(base_url=running.url, timeout=30) as open_to_all,
        ):
            for client, origin in ((strict_plain, OURS), (open_to_all, FOREIGN)):
                asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                answers = [
                    await client.post("/graphql", json=QUERY, headers={"Origin": origin}),
                    await client.options("/graphql", headers=asking),
                ]
                for answer in answers:
                    assert answer.headers["access-control-allow-origin"] in (origin, "*")
                    assert "access-control-allow-credentials" not in answer.headers

    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "null",
            "http://studio.example",
            "https://studio.example:8443",
            "https://astudio.example",
        ],
    )
    async def test_an_origin_is_allowed_exactly_or_not_at_all(
        self, strict_plain: httpx.AsyncClient, origin: str
    ) -> None:
        asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answers = [
            await strict_plain.options("/graphql", headers=asking),
            await strict_plain.post("/graphql", json=QUERY, headers={"Origin": origin}),
            await strict_plain.get("/api/incidents", headers={"Origin": origin}),
        ]

        for answer in answers:
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "Origin"

    async def test_the_headers_that_make_a_query_in_a_url_possible_may_be_sent_by_allowed_pages(
        self, strict_plain: httpx.AsyncClient
    ) -> None:
        asking = {"Origin": OURS, "Access-Control-Request-Method": "GET"}
        allowed = (await strict_plain.options("/graphql", headers=asking)).headers["access-control-allow-headers"]

        assert {"GraphQL-Require-Preflight", "Authorization", "X-Requested-With"} <= set(allowed.split(", "))

    @pytest.mark.parametrize("origin", [FOREIGN, "null", "https://127.0.0.1.evil.example"])
    async def test_a_foreign_page_opens_no_socket(self, strict_plain: httpx.AsyncClient, origin: str) -> None:
        handshake = {
            "Origin": origin,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol": "graphql-transport-ws",
        }
        answer = await strict_plain.get("/graphql", headers=handshake)

        assert answer.status_code == 403
        assert answer.headers["x-content-type-options"] == "nosniff"


class TestEveryAnswer:
    @pytest.mark.parametrize(
        ("method", "path", "options"),
        [
            ("POST", "/graphql", {"json": QUERY}),
            ("POST", "/graphql", {"json": {"query": "{"}}),
            ("POST", "/graphql", {"content": b"", "headers": {"Content-Type": "text/plain"}}),
            ("GET", "/graphql", {"params": QUERY}),
            ("PUT", "/graphql", {}),
            ("GET", "/api/incidents", {}),
            ("POST", "/api/incidents", {"json": {}}),
            ("GET", "/api/nothing", {}),
            ("GET", "/api/health", {}),
            ("GET", "/health", {}),
            ("GET", "/metrics", {}),
            ("GET", "/", {}),
            ("GET", "/graphql/assets/nothing.js", {}),
        ],
        ids=str,
    )
    async def test_it_is_neither_run_nor_framed_nor_guessed_nor_kept(
        self, http: httpx.AsyncClient, method: str, path: str, options: dict[str, Any]
    ) -> None:
        answer = await http.request(method, path, **options)

        assert {name: answer.headers[name] for name in EXPECTED} == EXPECTED
        assert len(answer.headers.get_list("content-security-policy")) == 1
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers

    async def test_an_event_stream_is_no_exception(self, http: httpx.AsyncClient) -> None:
        asking = {"query": "subscription { events { type } }"}
        async with http.stream("POST", "/graphql", json=asking, headers={"Accept": "text/event-stream"}) as answer:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store, no-transform"

    async def test_the_page_has_a_policy_of_its_own_and_no_second_one(self, http: httpx.AsyncClient) -> None:
        page = await http.get("/graphql", headers=PAGE)

        (policy,) = page.headers.get_list("content-security-policy")
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers.get_list("x-content-type-options") == ["nosniff"]
        assert page.headers.get_list("cache-control") == ["no-cache"]


@pytest.mark.parametrize(
    "id_",
    [b"a\rb: c", b"a\x00b", b"x\x7f", b"\xff", b"<script>" * 20, b"a b"],
)
async def test_a_request_id_puts_nothing_into_an_answer_or_the_log_that_is_no_id(
    server: ServerProcess, id_: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    try:
        writer.write(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: " + id_ + b"\r\n\r\n"
        )
        answer = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()

    assert id_ not in answer
    assert all(entry.get("request_id") != id_.decode("latin-1") for entry in server.log)


@pytest.mark.parametrize(
    "path",
    [
        "/graphql/assets/../../../pyproject.toml",
        "/graphql/assets/%2e%2e/%2e%2e/%2e%2e/pyproject.toml",
        "/graphql/assets/..%2f..%2f..%2fpyproject.toml",
        "/graphql/assets/..%5c..%5cpyproject.toml",
        "/graphql/assets/%252e%252e/pyproject.toml",
        "/graphql/assets//etc/passwd",
        "/graphql/assets/%00",
        "/graphql/assets/..%c0%af..%c0%afpyproject.toml",
        "/../../../../etc/passwd",
        "/api/incidents/..%2f..%2f..%2fetc%2fpasswd",
    ],
)
async def test_no_path_leads_out_of_what_is_served(server_url: str, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server_url).port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()

    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert b"root:" not in answer
    assert b"[project]" not in answer


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "jwt"])
async def test_a_token_in_a_url_is_no_proof(closed: httpx.AsyncClient, name: str) -> None:
    for path in ("/graphql", "/api/incidents"):
        shown = {name: token(), **QUERY}
        answer = await closed.get(path, params=shown, headers={"GraphQL-Require-Preflight": "1"})

        assert answer.status_code == 401
