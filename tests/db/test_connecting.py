"""The forms of database URLs, and connections over TCP."""

import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from db.connecting import driver_url, open_connection
from db.embedded import EmbeddedPostgres
from domain.errors import DatabaseUnavailable
from tests.postgres import FORGETFUL, run_sql

# A loopback address of our own, so that the port is free whatever else runs here.
ADDRESS = "127.18.6.3"
PASSWORD = "p@ss/word"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@db:5433/name", "postgresql://u:p@db:5433/name"),
        ("postgres://u:p@db/name", "postgresql://u:p@db/name"),
        ("postgresql+asyncpg://u@db/name", "postgresql://u@db/name"),
        (
            "postgresql://u@/name?host=/run/postgresql&port=5433",
            "postgresql://u@/name?host=%2Frun%2Fpostgresql&port=5433",
        ),
        ("postgresql:///name?host=/tmp/x", "postgresql:///name?host=%2Ftmp%2Fx"),
        ("postgresql://u@db/name?sslmode=verify-full", "postgresql://u@db/name?sslmode=verify-full"),
        ("postgresql+asyncpg://u@db/name?ssl=require", "postgresql://u@db/name?sslmode=require"),
        ("postgresql://u@db/name?sslmode=require&channel_binding=require", "postgresql://u@db/name?sslmode=require"),
        ("postgresql://u:p%40ss%2F@[::1]:5432/name", "postgresql://u:p%40ss%2F@[::1]:5432/name"),
    ],
)
def test_every_usual_form_of_url_is_understood(given: str, expected: str) -> None:
    assert driver_url(given) == expected


@pytest.mark.parametrize("url", ["mysql://u:secret@db/name", "u:secret@db/name", "postgresql://u:sec/ret@db/name"])
def test_another_url_is_refused_without_repeating_its_secret(url: str) -> None:
    with pytest.raises(ValueError, match="database URL") as refused:
        driver_url(url)
    assert "sec" not in str(refused.value)


@pytest.fixture
async def tcp_url(folder: Path, session_folder: Path) -> AsyncIterator[str]:
    """The URL, without a user, of a Postgres that listens on TCP and wants passwords."""
    if sys.platform != "linux":
        pytest.skip("only Linux has the whole of 127.0.0.0/8 as loopback")
    rules = session_folder / "pg_hba.conf"
    rules.write_text("local all all trust\nhost all all 127.0.0.0/8 scram-sha-256\n")
    rules.chmod(0o644)
    settings = FORGETFUL | {"listen_addresses": ADDRESS, "hba_file": str(rules)}
    async with EmbeddedPostgres(folder, settings=settings) as server:
        await run_sql(server.url, f"create role someone login password '{PASSWORD}'")
        yield f"{ADDRESS}:5432/reliability_studio"


async def test_a_server_on_tcp_is_reached_with_a_password_and_its_silence_is_noticed(tcp_url: str) -> None:
    url = driver_url(f"postgresql+asyncpg://someone:p%40ss%2Fword@{tcp_url}?sslmode=disable")
    connection = await open_connection(url, settings={}, connection_class=asyncpg.Connection)
    end = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # asyncpg does not show it
    assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    await connection.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://someone:wrong-secret@{}", asyncpg.InvalidPasswordError),
        ("postgresql://someone:p%40ss%2Fword@{}?sslmode=require", ConnectionError),
    ],
    ids=["password", "TLS that the server does not have"],
)
async def test_a_refusal_is_told_with_its_reason_and_without_secrets(
    tcp_url: str, url: str, reason: type[Exception]
) -> None:
    with pytest.raises(DatabaseUnavailable) as told:
        await open_connection(driver_url(url.format(tcp_url)), settings={}, connection_class=asyncpg.Connection)
    assert isinstance(told.value.__cause__, reason)
    for message in (str(told.value), str(told.value.__cause__)):
        assert "secret" not in message
        assert PASSWORD not in message
