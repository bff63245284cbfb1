"""Pages whose own name has come to mean this machine (DNS rebinding)."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from app.setting import SettingsError
from app.settings import Settings
from tests.http.graphql_socket import connect
from tests.security.signing import SECRET
from tests.servers import ServerProcess

QUERY = {"query": "{ __typename }"}
EVIL = ["evil.example", "evil.example:9000", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.7", "[::2]:80"]


@pytest.mark.parametrize("host", [*EVIL, "evil.example@localhost", "localhost, evil.example", ""])
async def test_where_nobody_proves_who_they_are_no_other_name_is_answered(http: httpx.AsyncClient, host: str) -> None:
    for path, method in (("/graphql", "POST"), ("/api/incidents", "GET"), ("/", "GET"), ("/graphql", "OPTIONS")):
        answer = await http.request(method, path, json=QUERY if method == "POST" else None, headers={"Host": host})

        assert answer.status_code in (400, 421)
        assert "data" not in answer.json()
        if answer.status_code == 421:
            assert "ALLOWED_HOSTS" in answer.json()["error"]


async def test_no_page_of_another_name_opens_a_socket(server: ServerProcess) -> None:
    """Its origin is that of the host that it names: only the name itself gives it away."""
    place = urlsplit(server.url)
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            "http://evil.example:9000", host=place.hostname, port=place.port, origin="http://evil.example:9000"
        ):
            pass
    assert refused.value.response.status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9000", "127.0.0.1:80", "127.1.2.3", "[::1]:9000", "a.localhost"]
)
async def test_the_names_of_this_machine_are_its_own(http: httpx.AsyncClient, host: str) -> None:
    answer = await http.post("/graphql", json=QUERY, headers={"Host": host})
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("path", ["/health", "/api/health", "/metrics"])
async def test_probes_come_by_whatever_address_there_is(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path, headers={"Host": "10.0.0.7:9000"})).status_code == 200


@pytest.fixture(scope="module")
async def named(closed_database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that has names."""
    settings = {"DATABASE_URL": closed_database_url, "AUTH_ENABLED": "true", "JWT_SECRET": SECRET}
    async with (
        ServerProcess(
            **settings, ALLOWED_HOSTS="Studio.example, *.internal.example, 192.0.2.7, [2001:db8::1]"
        ) as running,
        httpx.AsyncClient(base_url=running.url) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("studio.example", 401),
        ("STUDIO.example.:443", 401),
        ("eu.internal.example:8443", 401),
        ("192.0.2.7", 401),
        ("[2001:db8::1]:443", 401),
        ("localhost", 401),
        ("internal.example", 421),
        ("evil-studio.example", 421),
        ("studio.example.evil.example", 421),
        ("192.0.2.8", 421),
    ],
)
async def test_names_that_are_listed_are_answered_and_no_others(
    named: httpx.AsyncClient, host: str, status: int
) -> None:
    assert (await named.post("/graphql", json=QUERY, headers={"Host": host})).status_code == status


async def test_where_everybody_proves_who_they_are_any_name_will_do(closed: httpx.AsyncClient) -> None:
    assert (await closed.post("/graphql", json=QUERY, headers={"Host": "studio.example"})).status_code == 401


@pytest.mark.parametrize(
    ("settings", "answered"),
    [
        ({"auth_enabled": False, "host": "127.0.0.1"}, ()),
        ({"auth_enabled": False, "host": "localhost", "allowed_hosts": "dev.example"}, ("dev.example",)),
        ({"auth_enabled": False, "host": "127.0.0.1", "allowed_hosts": "*"}, None),
        ({"auth_enabled": False, "host": "192.0.2.7", "auth_disabled_allow_remote": True}, None),
        ({"auth_enabled": True, "host": "127.0.0.1"}, None),
        ({"auth_enabled": True, "host": "192.0.2.7", "allowed_hosts": "studio.example"}, ("studio.example",)),
    ],
)
def test_which_names_are_answered(settings: dict[str, object], answered: tuple[str, ...] | None) -> None:
    assert Settings(**settings).answered_hosts() == answered


@pytest.mark.parametrize(
    "host", ["https://studio.example", "studio.example:443", "a b", "*.*.example", "studio.example/x"]
)
def test_what_is_no_name_is_refused_at_the_start(host: str) -> None:
    with pytest.raises((SettingsError, ValueError), match="no host name"):
        Settings(allowed_hosts=host)
