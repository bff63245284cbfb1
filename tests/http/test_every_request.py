"""What every request gets, whichever way it is answered."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from tests.postgres import LOCK_INCIDENTS, READERS_OF_INCIDENTS_THAT_WAIT, run_sql
from tests.servers import ServerProcess
from tests.waiting import until

PATHS = ["/graphql?query={__typename}", "/api/incidents", "/api/nothing", "/health"]
ORIGIN = "https://studio.example"


@pytest.fixture
async def own_server(database_url: str) -> AsyncIterator[ServerProcess]:
    """A server on a database of its own, which a test may damage; a request has one second."""
    async with ServerProcess(DATABASE_URL=database_url, OPERATION_TIMEOUT_SECONDS="1") as running:
        yield running


@pytest.fixture
async def own_http(own_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=own_server.url, timeout=30) as client:
        yield client


class TestRequestIds:
    @pytest.mark.parametrize("path", PATHS)
    async def test_a_given_one_comes_back(self, http: httpx.AsyncClient, path: str) -> None:
        response = await http.get(path, headers={"X-Request-Id": "trace-42"})

        assert response.headers["x-request-id"] == "trace-42"

    @pytest.mark.parametrize("given", [None, "", "with space", "x" * 129, "ümlaut".encode(), "a\tb"])
    async def test_a_missing_or_odd_one_is_replaced(self, http: httpx.AsyncClient, given: str | bytes | None) -> None:
        headers = [] if given is None else [("X-Request-Id", given)]
        first = await http.get("/health", headers=headers)
        second = await http.get("/health", headers=headers)

        ids = {first.headers["x-request-id"], second.headers["x-request-id"]}
        assert len(ids) == 2
        assert given not in ids

    async def test_it_leads_to_the_line_in_the_log(self, http: httpx.AsyncClient, server: ServerProcess) -> None:
        await http.post("/graphql", json={"query": "{ __typename }"}, headers={"X-Request-Id": "find-me"})

        def line() -> dict[str, object] | None:
            return next((entry for entry in server.log if entry.get("request_id") == "find-me"), None)

        await until(lambda: line() is not None)
        entry = line()
        assert entry is not None
        assert (entry["event"], entry["level"], entry["method"]) == ("request", "info", "POST")
        assert (entry["route"], entry["status"], entry["operation"]) == ("/graphql", 200, "query")
        assert entry["client"] == "127.0.0.1"


class TestTheUnexpected:
    async def test_it_is_masked_and_its_reference_leads_to_the_log(
        self, own_server: ServerProcess, own_http: httpx.AsyncClient, database_url: str
    ) -> None:
        await run_sql(database_url, "alter table incidents rename to gone")
        response = await own_http.get("/api/incidents")

        assert response.status_code == 500
        reference = response.headers["x-request-id"]
        assert response.json() == {"error": f"Something went wrong here. Mention {reference} when you report it."}

        def told() -> list[str]:
            lines = [entry for entry in own_server.log if entry.get("request_id") == reference]
            return [entry["exception"] for entry in lines if "exception" in entry]

        await until(lambda: len(told()) == 1)
        assert "UndefinedTable" in told()[0]

    async def test_a_request_that_takes_too_long_is_ended_and_so_is_its_work_in_the_database(
        self, own_http: httpx.AsyncClient, database_url: str
    ) -> None:
        blocker = await asyncpg.connect(database_url)
        try:
            await blocker.execute(LOCK_INCIDENTS)
            rest, graphql = await asyncio.gather(
                own_http.get("/api/incidents"),
                own_http.post("/graphql", json={"query": "{ incidents { nodes { id } } }"}),
            )

            assert rest.status_code == 504
            assert "longer than allowed" in rest.json()["error"]
            assert graphql.status_code == 200
            assert graphql.json()["errors"][0]["extensions"]["code"] == "DEADLINE_EXCEEDED"

            async def nobody_reads() -> bool:
                return bool(await blocker.fetchval(READERS_OF_INCIDENTS_THAT_WAIT) == 0)

            await until(nobody_reads)
        finally:
            await blocker.close()

        assert (await own_http.get("/api/incidents")).status_code == 200


class TestCrossOrigin:
    @pytest.mark.parametrize("path", PATHS)
    async def test_an_allowed_origin_may_read_the_answer(self, strict_http: httpx.AsyncClient, path: str) -> None:
        response = await strict_http.get(path, headers={"Origin": ORIGIN})

        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "X-Total-Count" in response.headers["access-control-expose-headers"]
        assert response.headers["vary"] == "Origin"

    async def test_a_browser_may_ask_before_it_sends(self, strict_http: httpx.AsyncClient) -> None:
        asking = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        response = await strict_http.options("/graphql", headers=asking)

        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in response.headers["access-control-allow-methods"]
        assert "Content-Type" in response.headers["access-control-allow-headers"]

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://studio.example.evil.example"])
    async def test_another_origin_may_not(self, strict_http: httpx.AsyncClient, origin: str) -> None:
        asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        responses = [
            await strict_http.options("/graphql", headers=asking),
            await strict_http.get("/health", headers={"Origin": origin}),
        ]

        assert all("access-control-allow-origin" not in response.headers for response in responses)

    async def test_no_origin_is_allowed_by_default(self, http: httpx.AsyncClient) -> None:
        response = await http.get("/health", headers={"Origin": ORIGIN})

        assert "access-control-allow-origin" not in response.headers
