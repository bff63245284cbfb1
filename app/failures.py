"""Why a command ends early, in words for the operator."""

import socket
from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from app.processes.supervisor import WorkersDoNotStart
from app.server import CannotListen
from app.setting import SettingsError
from db.embedded import EmbeddedPostgresError
from domain.errors import Conflict, DatabaseUnavailable, NotFound, ValidationFailed
from migrations.upgrade import MigrationError
from resolvers.compile.catalog import CatalogMismatch
from telemetry_clients.errors import TelemetryNotConfigured


class Failure(Exception):
    """The command cannot do what it should. The message says why, and what to do."""


@contextmanager
def explained() -> Generator[None]:
    """Turn what an operator can do something about into a Failure."""
    try:
        yield
    except DatabaseUnavailable as error:
        raise Failure(f"The database cannot be used. {diagnose(error)}") from error
    except (CannotListen, CatalogMismatch, EmbeddedPostgresError, MigrationError, SettingsError) as error:
        raise Failure(str(error)) from error
    except (TelemetryNotConfigured, ValidationFailed, NotFound, Conflict) as error:
        raise Failure(error.message) from error
    except WorkersDoNotStart as error:
        raise Failure("The workers do not start. What they said is above.") from error


def diagnose(error: DatabaseUnavailable) -> str:
    """One or two sentences: what the connection failed with, and what to do. For the operator, it may name hosts."""
    cause = _root_cause(error)
    if cause is error:
        return error.message
    return f"{_said(cause)}. {_advice(cause)}"


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _said(cause: BaseException) -> str:
    if isinstance(cause, TimeoutError) and not str(cause):
        return "No answer in time"
    return (str(cause) or type(cause).__name__).strip().rstrip(".")


def _advice(cause: BaseException) -> str:
    match cause:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return "Check the user and the password (DATABASE_URL, or DB_USER and DB_PASSWORD)."
        case asyncpg.InvalidCatalogNameError():
            return "Create the database with createdb, or name another one (DATABASE_URL, or DB_NAME)."
        case asyncpg.TooManyConnectionsError():
            return "Raise max_connections of Postgres, or lower DB_POOL_MAX_CONNECTIONS and DB_READ_CONNECTIONS."
        case asyncpg.CannotConnectNowError():
            return "Postgres is starting or stopping. Try again in a moment."
        case asyncpg.InsufficientPrivilegeError():
            return "Grant the user what it needs on the database."
        case socket.gaierror():
            return "The host has no address. Check its name (DATABASE_URL, or DB_HOST)."
        case TimeoutError():
            return "Check the host, the port and the firewall between."
        case OSError():
            return "Check that Postgres runs there, and the host and the port (DATABASE_URL, or DB_HOST and DB_PORT)."
    return "Check DATABASE_URL or the DB_ settings, and the log of Postgres."
