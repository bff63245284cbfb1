"""Where the database is, and how many connections to it are held."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import BaseSettings

from app.setting import lower, setting


class SSLMode(StrEnum):
    """libpq's `sslmode`."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


def _postgres_url(value: SecretStr) -> SecretStr:
    url = urlsplit(value.get_secret_value())
    if url.scheme not in ("postgres", "postgresql", "postgresql+asyncpg"):
        raise ValueError("it does not start with postgresql://")
    if not url.path.strip("/"):
        raise ValueError("it names no database")
    return value


PostgresURL = Annotated[SecretStr, AfterValidator(_postgres_url)]

POSTGRES_URL = "`postgresql://user:password@host:5432/database`, with `?sslmode=...` if wanted"


class DatabaseVariables(BaseSettings):
    """The settings of the database."""

    database_url: PostgresURL | None = setting(
        None, "The Postgres (15 or newer) to use. Without it and `DB_HOST`, an embedded one is started.", POSTGRES_URL
    )
    db_host: str | None = setting(None, "Host of the Postgres, instead of `DATABASE_URL`.", "a host name or an address")
    db_port: int = setting(5432, "Its port.", "1 to 65535", ge=1, le=65535)
    db_user: str | None = setting(None, "The user to connect as.", "text")
    db_password: SecretStr | None = setting(None, "The user's password.", "text")
    db_name: str | None = setting(None, "The database.", "text")
    db_sslmode: Annotated[SSLMode, BeforeValidator(lower)] | None = setting(
        None, "Whether the connection is encrypted and whom it trusts, as in libpq.", ", ".join(map(str, SSLMode))
    )
    database_read_url: PostgresURL | None = setting(
        None,
        "A read replica (a standby of the same Postgres) for compiled reads. Who has written reads what they wrote.",
        POSTGRES_URL,
    )
    database_read_most_lag_seconds: float = setting(
        10, "How far it may be behind before reads go to the primary.", "0.1 to 3600", ge=0.1, le=3600
    )
    db_pool_max_connections: int = setting(50, "Most connections for writes.", "2 to 1000", ge=2, le=1000)
    db_pool_kept_connections: int = setting(
        10, "Connections for writes that stay open while idle.", "1 to `DB_POOL_MAX_CONNECTIONS`", ge=1, le=1000
    )
    db_read_connections: int = setting(
        10, "Connections for compiled reads, which come on top.", "1 to 200", ge=1, le=200
    )
    db_connection_lifetime_seconds: float = setting(
        1800, "Age at which a connection is replaced.", "1 or more", ge=1, allow_inf_nan=False
    )
    db_statement_timeout_seconds: float = setting(
        30, "Longest time that Postgres works on one statement.", "0.1 or more", ge=0.1, allow_inf_nan=False
    )
    data_dir: Path | None = setting(
        None,
        "Folder of the embedded Postgres. By default one below the user's data folder, which `serve` names.",
        "a path",
    )
    audit_log_retention_days: float = setting(
        400, "How long it is kept who did what. The database itself refuses to forget sooner than after 30.",
        "30 to 36500", ge=30, le=36_500,
    )  # fmt: skip

    def postgres_url(self) -> str | None:
        """The URL of the configured Postgres, password included, or None where an embedded one is wanted."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.db_host is None or self.db_user is None or self.db_name is None:
            return None
        password = "" if self.db_password is None else ":" + quote(self.db_password.get_secret_value(), safe="")
        host = f"[{self.db_host}]" if ":" in self.db_host else quote(self.db_host, safe="")
        query = "" if self.db_sslmode is None else "?" + urlencode({"sslmode": self.db_sslmode.value})
        user, name = quote(self.db_user, safe=""), quote(self.db_name, safe="")
        return f"postgresql://{user}{password}@{host}:{self.db_port}/{name}{query}"

    def replica_url(self) -> str | None:
        """The URL of the read replica, password included, or None where there is none."""
        return None if self.database_read_url is None else self.database_read_url.get_secret_value()

    def database_problems(self) -> Iterable[str]:
        """What does not fit together."""
        if self.db_pool_kept_connections > self.db_pool_max_connections:
            yield (
                f"DB_POOL_KEPT_CONNECTIONS={self.db_pool_kept_connections} is more than "
                f"DB_POOL_MAX_CONNECTIONS={self.db_pool_max_connections}. Keep at most as many as there may be."
            )
        if self.database_read_url is not None and self.postgres_url() is None:
            yield "DATABASE_READ_URL is set, but no Postgres that it could be a replica of. Set DATABASE_URL as well."
        if self.database_url is None:
            yield from self._lonely_settings()

    def _lonely_settings(self) -> Iterable[str]:
        given = [
            n for n in ("db_user", "db_password", "db_name", "db_sslmode", "db_port") if n in self.model_fields_set
        ]
        if self.db_host is None:
            for name in given:
                yield f"{name.upper()} is set, but neither DB_HOST nor DATABASE_URL is. Set one of them, or unset it."
        else:
            for name in ("db_user", "db_name"):
                if getattr(self, name) is None:
                    yield f"DB_HOST is set, but {name.upper()} is not. Set it, or use DATABASE_URL."
