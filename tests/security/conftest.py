"""Servers that are closed, as they are by default."""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from app.accounts import add_user
from app.settings import Settings
from db.embedded import EmbeddedPostgres
from domain.access import Role
from tests.postgres import TEMPLATE, run_sql
from tests.security.signing import ADA, PASSWORD, SECRET
from tests.servers import ServerProcess


@pytest.fixture(scope="session")
async def closed_database_url(postgres: EmbeddedPostgres) -> str:
    """The database of the closed server, in which ADA may sign in."""
    await run_sql(postgres.url, f"create database closed template {TEMPLATE} strategy file_copy")
    url = postgres.url_of("closed")
    await add_user(Settings(database_url=url), ADA, "Ada", Role.ADMIN, PASSWORD)
    return url


@pytest.fixture(scope="session")
async def closed_server(closed_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server that takes tokens signed with SECRET, and lets ADA sign in."""
    settings = {"DATABASE_URL": closed_database_url, "AUTH_ENABLED": "true", "JWT_SECRET": SECRET}
    # All tests come from one address, and most of them are up to no good.
    patience = {"SIGN_IN_ATTEMPTS_PER_ADDRESS": "1000", "RATE_LIMIT_REFUSED": "0"}
    async with ServerProcess(**settings, **patience) as running:
        yield running


@pytest.fixture
async def closed(closed_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the closed server, without a token."""
    async with httpx.AsyncClient(base_url=closed_server.url, timeout=30) as client:
        yield client


@pytest.fixture
async def closed_database(closed_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the closed server's database."""
    connection = await asyncpg.connect(closed_database_url)
    yield connection
    await connection.close()
