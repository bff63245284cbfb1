"""A server that is closed, as it is by default."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.security.signing import SECRET
from tests.servers import ServerProcess


@pytest.fixture(scope="session")
async def closed_server(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server that takes tokens signed with SECRET."""
    async with ServerProcess(DATABASE_URL=served_database_url, AUTH_ENABLED="true", JWT_SECRET=SECRET) as running:
        yield running


@pytest.fixture
async def closed(closed_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the closed server, without a token."""
    async with httpx.AsyncClient(base_url=closed_server.url) as client:
        yield client
