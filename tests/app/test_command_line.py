"""The command line, run as its users run it."""

import socket
from pathlib import Path

import pytest
from graphql import build_schema

from app.version import VERSION
from tests.postgres import run_sql
from tests.servers import run_command

NOBODY = "http://127.0.0.1:9"


async def test_it_says_its_version() -> None:
    assert await run_command("--version") == (0, f"{VERSION}\n", "")


@pytest.mark.parametrize("command", ["serve", "migrate", "new-epoch", "demo", "schema", "check"])
async def test_the_help_of_each_command_gives_an_example(command: str) -> None:
    code, out, _ = await run_command(command, "--help")

    assert code == 0
    assert "Example" in out
    assert f"reliability-studio {command}" in out


async def test_the_help_lists_the_commands_and_how_to_start() -> None:
    _, out, _ = await run_command("--help")

    assert "reliability-studio serve" in out
    assert "http://127.0.0.1:9000/graphql" in out
    for command in ("serve", "migrate", "new-epoch", "demo", "schema", "check", "settings"):
        assert f" {command} " in out


async def test_the_schema_that_it_prints_is_one() -> None:
    code, out, _ = await run_command("schema")

    assert code == 0
    assert "Incident" in build_schema(out).type_map


async def test_migrating_twice_is_once(empty_database_url: str) -> None:
    first = await run_command("migrate", settings={"DATABASE_URL": empty_database_url})
    second = await run_command("migrate", settings={"DATABASE_URL": empty_database_url})

    assert first[0] == second[0] == 0
    assert "Migrated the database to revision" in first[2]
    assert "The database is up to date." in second[2]


async def test_a_new_epoch_begins_where_the_log_stands(database_url: str) -> None:
    await run_sql(database_url, "update event_log_head set position = 7")

    code, _, err = await run_command("new-epoch", settings={"DATABASE_URL": database_url})

    assert code == 0
    assert "The event log goes on after position 7 as " in err


async def test_loading_the_demo_twice_is_once(empty_database_url: str) -> None:
    first = await run_command("demo", settings={"DATABASE_URL": empty_database_url})
    second = await run_command("demo", settings={"DATABASE_URL": empty_database_url})

    assert first[0] == second[0] == 0
    assert "Loaded the demo shop: " in first[2]
    assert "The demo shop is there already." in second[2]


async def test_a_port_in_use_is_said_before_anything_is_started(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = await run_command("serve", "--port", str(port), settings={"DATABASE_URL": database_url})

    assert code == 1
    assert err.strip() == (
        f"Error: Port {port} of 127.0.0.1 is in use. Stop what uses it, or choose another one with --port."
    )


@pytest.mark.parametrize(
    ("host", "complaint"),
    [("no-such-host.invalid", "is not an address of this machine"), ("192.0.2.1", "is not an address of this machine")],
)
async def test_an_address_that_is_not_ours_is_said(host: str, complaint: str) -> None:
    settings = {"AUTH_ENABLED": "true"}  # or else the address itself is refused
    code, _, err = await run_command("serve", "--host", host, "--port", "0", settings=settings)

    assert code == 1
    assert complaint in err


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://me:hunter2@127.0.0.1:9/studio", "Check that Postgres runs there, and the host and the port"),
        ("postgresql://me:hunter2@no-such-host.invalid/studio", "The host has no address. Check its name"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_explained(url: str, complaint: str) -> None:
    code, _, err = await run_command("serve", "--port", "0", settings={"DATABASE_URL": url})

    assert code == 1
    assert "Error: The database cannot be used." in err
    assert complaint in err
    assert "hunter2" not in err
    assert "Traceback" not in err


class TestCheck:
    async def test_it_says_what_works_and_what_is_not_configured(self, database_url: str) -> None:
        code, out, _ = await run_command("check", settings={"DATABASE_URL": database_url})

        assert code == 0
        rows = {line.split()[0]: line for line in out.splitlines()}
        assert "works" in rows["settings"]
        assert "18." in rows["database"]
        assert " ms " in rows["database"]
        assert "works" in rows["tables"]
        assert "set PROMETHEUS_URL" in rows["prometheus"]
        assert "set LOKI_URL" in rows["loki"]

    async def test_a_telemetry_backend_that_fails_is_explained_and_no_failure_of_the_whole(
        self, database_url: str
    ) -> None:
        code, out, _ = await run_command("check", settings={"DATABASE_URL": database_url, "PROMETHEUS_URL": NOBODY})

        assert code == 0
        (row,) = (line for line in out.splitlines() if line.startswith("prometheus"))
        assert "fails" in row
        assert NOBODY in row
        assert "Check the URL" in row

    async def test_it_fails_when_the_database_does_and_says_what_to_do(self) -> None:
        code, out, _ = await run_command("check", settings={"DATABASE_URL": "postgresql://me@127.0.0.1:9/studio"})

        assert code == 1
        (row,) = (line for line in out.splitlines() if line.startswith("database"))
        assert "fails" in row
        assert "Check that Postgres runs there" in row

    async def test_tables_that_are_missing_are_told_with_the_way_to_make_them(self, empty_database_url: str) -> None:
        code, out, _ = await run_command("check", settings={"DATABASE_URL": empty_database_url})

        assert code == 0
        (row,) = (line for line in out.splitlines() if line.startswith("tables"))
        assert "reliability-studio migrate" in row

    async def test_without_a_database_of_the_users_it_asks_the_embedded_one(self, folder: Path) -> None:
        code, out, err = await run_command("check", "--data-dir", str(folder))

        assert code == 0
        assert f"Starting the embedded PostgreSQL in {folder}" in err
        (row,) = (line for line in out.splitlines() if line.startswith("database"))
        assert "works" in row
