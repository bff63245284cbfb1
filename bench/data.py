"""The benchmark's database: an embedded Postgres in a cached folder, filled once and reused."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import asyncpg

import migrations
from migrations.upgrade import upgrade

CACHE = Path(__file__).parent / ".cache"
DATABASE = "reliability_bench"
ASKED_ONE_AT_A_TIME = 500

_RECIPE = Path(__file__).with_name("data.sql")
# Filled without their indexes, which are built afterwards in a tenth of the time.
_BIG_TABLES = ("incidents", "incidents_services", "timeline_events")


async def prepare(server_url: str, say: Callable[[str], None]) -> str:
    """Return the URL of the filled database on this server, which is made first where there is none of this recipe."""
    recipe = _RECIPE.read_text()
    fingerprint = _fingerprint(recipe)
    url = with_database(server_url, DATABASE)
    server = await asyncpg.connect(server_url)
    try:
        found = await server.fetchval(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = $1", DATABASE
        )
        if found == fingerprint:
            say(f"Reusing the data in {CACHE} (delete that folder to make it anew)")
            return url
        say(f"Making the data in {CACHE}: about half a minute, once")
        await server.execute(f"drop database if exists {DATABASE} with (force)")
        await server.execute(f"create database {DATABASE}")
        await upgrade(url)
        await _fill(url, recipe, say)
        # Said last: a database that was only half filled is made again.
        await server.execute(f"comment on database {DATABASE} is '{fingerprint}'")
    finally:
        await server.close()
    return url


async def incident_ids(database_url: str) -> list[str]:
    """The incidents that are asked for one at a time, spread over the year."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "select id from incidents where number % (select count(*) / $1 from incidents) = 0 order by number",
            ASKED_ONE_AT_A_TIME,
        )
    finally:
        await connection.close()
    return [str(row["id"]) for row in rows]


def _fingerprint(recipe: str) -> str:
    files = sorted(Path(migrations.__path__[0]).rglob("*.py"))
    return hashlib.sha256(b"".join([recipe.encode(), *(file.read_bytes() for file in files)])).hexdigest()


def with_database(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return re.sub(r"^(postgresql://[^/]*/)[^?]*", rf"\g<1>{database}", url)


async def _fill(url: str, recipe: str, say: Callable[[str], None]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            # The recipe keeps its references by itself; checking a million of them takes longer than making them.
            "set session_replication_role = replica; set synchronous_commit = off; set jit = off;"
            "set maintenance_work_mem = '256MB'"
        )
        async with connection.transaction():
            indexes = await connection.fetch(
                "select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition from pg_index"
                " where indrelid = any($1::text[]::regclass[]) and not indisunique",
                _BIG_TABLES,
            )
            for index in indexes:
                await connection.execute(f"drop index {index['name']}")
            await connection.execute(recipe)
            for index in indexes:
                await connection.execute(index["definition"])
        await connection.execute("vacuum analyze")
        for table in ("incidents", "services", "timeline_events", "slos"):
            say(f"  {await connection.fetchval(f'select count(*) from {table}'):>7} {table}")
    finally:
        await connection.close()
