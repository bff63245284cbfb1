"""Everything that can be set from outside, and the only module that reads the environment.

A setting comes from the first that has it: the command line, the environment, the file given with `--env-file`. An
empty value counts as not set. Names that are meant for us and are none of ours are errors: any other key of the file,
and a variable that is one slip of the keyboard away from a setting.
"""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import quote, urlencode, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class SettingsError(Exception):
    """The settings are wrong; one line for each, with its name, its value and what is allowed. Holds no secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class GraphQLHTTPProfile(StrEnum):
    """Which text of GraphQL over HTTP the status codes of `/graphql` follow."""

    DEFAULT = "default"
    DRAFT = "draft"


class SSLMode(StrEnum):
    """libpq's `sslmode`."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _comma_separated(value: object) -> object:
    return _parts(value) if isinstance(value, str) else value


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _postgres_url(value: SecretStr) -> SecretStr:
    url = urlsplit(value.get_secret_value())
    if url.scheme not in ("postgres", "postgresql", "postgresql+asyncpg"):
        raise ValueError("it does not start with postgresql://")
    if not url.path.strip("/"):
        raise ValueError("it names no database")
    return value


def _http_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("it does not start with http:// or https:// and a host")
    if url.query or url.fragment:
        raise ValueError("it has a query or a fragment")
    if url.username is not None or url.password is not None:
        raise ValueError("it holds credentials")
    return value.rstrip("/")


def _webhook_tokens(value: SecretStr | None) -> SecretStr | None:
    """`name=token` pairs. Raises ValueError, which does not say the token."""
    tokens_of(value)
    return value


def tokens_of(value: SecretStr | None) -> dict[str, str]:
    """The tokens by the names of their sources. Raises ValueError."""
    tokens: dict[str, str] = {}
    for position, pair in enumerate(_parts(value.get_secret_value()) if value else (), start=1):
        name, separator, token = (part.strip() for part in pair.partition("="))
        if not separator or not name or not token:
            raise ValueError(f"pair {position} is not of the form name=token")
        if name in tokens or len(name) > _SOURCE_CHARACTERS:
            raise ValueError(f"the name of pair {position} is given twice or longer than {_SOURCE_CHARACTERS}")
        tokens[name] = token
    return tokens


def _origin(value: str) -> str:
    if value == "*":
        return value
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.netloc or value != f"{url.scheme}://{url.netloc}":
        raise ValueError(f"{value!r} is no origin")
    return value.lower()


_SOURCE_CHARACTERS = 100

PostgresURL = Annotated[SecretStr, AfterValidator(_postgres_url)]
HTTPURL = Annotated[str, AfterValidator(_http_url)]
Origin = Annotated[str, AfterValidator(_origin)]

POSTGRES_URL = "`postgresql://user:password@host:5432/database`, with `?sslmode=...` if wanted"
HTTP_URL = "`http://` or `https://`, a host, a path prefix if there is one, no credentials"


def setting(default: Any, description: str, allowed: str, **constraints: Any) -> Any:
    """A setting: its default, what it does, and its allowed values in words (both in Markdown)."""
    return Field(default=default, description=description, json_schema_extra={"allowed": allowed}, **constraints)


class Settings(BaseSettings):
    """What the process is told. Durations are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True, validate_default=False
    )

    host: str = setting("127.0.0.1", "Address to listen on; `0.0.0.0` for all.", "an address or a host name")
    port: int = setting(9000, "Port to listen on; 0 takes a free one.", "0 to 65535", ge=0, le=65535)

    database_url: PostgresURL | None = setting(
        None, "The Postgres (15 or newer) to use. Without it and `DB_HOST`, an embedded one is started.", POSTGRES_URL
    )
    db_host: str | None = setting(None, "Host of the Postgres, instead of `DATABASE_URL`.", "a host name or an address")
    db_port: int = setting(5432, "Its port.", "1 to 65535", ge=1, le=65535)
    db_user: str | None = setting(None, "The user to connect as.", "text")
    db_password: SecretStr | None = setting(None, "The user's password.", "text")
    db_name: str | None = setting(None, "The database.", "text")
    db_sslmode: Annotated[SSLMode, BeforeValidator(_lower)] | None = setting(
        None, "Whether the connection is encrypted and whom it trusts, as in libpq.", ", ".join(map(str, SSLMode))
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

    prometheus_url: HTTPURL | None = setting(None, "Where to ask for metrics.", HTTP_URL)
    prometheus_username: str | None = setting(None, "User for basic authentication with Prometheus.", "text")
    prometheus_password: SecretStr | None = setting(None, "That user's password.", "text")
    prometheus_bearer_token: SecretStr | None = setting(
        None, "Token for Prometheus, instead of user and password.", "text"
    )
    prometheus_scrape_interval_seconds: float = setting(
        15,
        "How often Prometheus scrapes the services, which rates have to span several times.",
        "1 to 3600",
        ge=1,
        le=3600,
    )
    loki_url: HTTPURL | None = setting(None, "Where logs are; `/api/health` and `check` watch it.", HTTP_URL)
    tempo_url: HTTPURL | None = setting(None, "Where traces are; `/api/health` and `check` watch it.", HTTP_URL)

    operation_timeout_seconds: float = setting(
        15, "Time for one request, from its headers to its answer.", "0.1 to 300", ge=0.1, le=300
    )
    shutdown_timeout_seconds: float = setting(
        20, "Time that running requests get to finish when the server is told to stop.", "1 to 600", ge=1, le=600
    )
    max_body_bytes: int = setting(
        1_048_576, "Largest request body.", "1024 to 104857600 (100 MiB)", ge=1024, le=104_857_600
    )
    webhook_tokens: Annotated[SecretStr | None, AfterValidator(_webhook_tokens)] = setting(
        None,
        "Who may post alerts: `name=token` for each source, separated by commas. Without it, whoever can connect may.",
        "names of sources and their tokens, as in `alertmanager=s3cret,grafana=t0ken`",
    )
    max_webhook_bytes: int = setting(
        5_242_880, "Largest body of a webhook.", "1024 to 104857600 (100 MiB)", ge=1024, le=104_857_600
    )
    alert_grouping_window_seconds: float = setting(
        1800, "How long after its last alert an incident takes more about the same service.", "0 to 604800",
        ge=0, le=604_800,
    )  # fmt: skip
    alert_dependency_window_seconds: float = setting(
        300, "How close together a service and what it depends on are hit to be one incident.", "0 to 86400",
        ge=0, le=86_400,
    )  # fmt: skip
    alert_hold_seconds: float = setting(
        120, "How long all alerts of an incident are over before it counts as mitigated.", "0 to 86400",
        ge=0, le=86_400,
    )  # fmt: skip
    alert_flapping_firings: int = setting(
        3, "An alert flaps that fires so often within `ALERT_FLAPPING_SECONDS`.", "2 to 100", ge=2, le=100
    )
    alert_flapping_seconds: float = setting(
        900, "How long an incident with a flapping alert has to be quiet.", "1 to 86400", ge=1, le=86_400
    )
    alert_upkeep_seconds: float = setting(
        10, "How often it is looked whether incidents have become quiet.", "0.5 to 3600", ge=0.5, le=3600
    )
    alert_delivery_retention_days: float = setting(
        30, "How long deliveries of alerts are kept as they came.", "1 to 3650", ge=1, le=3650
    )
    max_streams_per_address: int = setting(
        1000, "Most WebSockets and event streams that one address may hold open.", "1 to 100000", ge=1, le=100_000
    )
    max_operations_per_socket: int = setting(
        100, "Most operations, subscriptions included, that run on one WebSocket.", "1 to 10000", ge=1, le=10_000
    )
    socket_init_timeout_seconds: float = setting(
        10, "Time that a WebSocket client gets to send `connection_init`.", "0.1 to 300", ge=0.1, le=300
    )
    socket_ping_seconds: float = setting(
        20, "How often WebSocket clients are pinged. Who is silent for three times as long is disconnected.",
        "0.1 to 300", ge=0.1, le=300,
    )  # fmt: skip
    stream_keep_alive_seconds: float = setting(
        15, "How often an event stream with nothing to tell gets a comment.", "0.1 to 300", ge=0.1, le=300
    )
    send_timeout_seconds: float = setting(
        10, "Time after which a subscriber that takes nothing is disconnected; it can resume.", "0.1 to 300",
        ge=0.1, le=300,
    )  # fmt: skip
    event_log_retention_days: float = setting(
        30, "How long events are kept for subscribers to resume from.", "1 to 3650", ge=1, le=3650
    )
    graphql_http_profile: Annotated[GraphQLHTTPProfile, BeforeValidator(_lower)] = setting(
        GraphQLHTTPProfile.DEFAULT,
        "Status codes of `/graphql`: what clients of today expect, or the draft of 2026 (422, 294).",
        ", ".join(map(str, GraphQLHTTPProfile)),
    )
    cors_allowed_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_comma_separated)] = setting(
        (),
        "Web pages of other origins that may call us, separated by commas. None by default.",
        "origins such as `https://example.com`, or `*`",
    )

    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = setting(
        LogLevel.INFO, "Least severe log lines that are written; every request is one of level info.",
        ", ".join(map(str, LogLevel)),
    )  # fmt: skip
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] | None = setting(
        None, "How log lines look: by default `console` on a terminal and `json` elsewhere.",
        ", ".join(map(str, LogFormat)),
    )  # fmt: skip

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems = []
        if self.db_pool_kept_connections > self.db_pool_max_connections:
            problems.append(
                f"DB_POOL_KEPT_CONNECTIONS={self.db_pool_kept_connections} is more than "
                f"DB_POOL_MAX_CONNECTIONS={self.db_pool_max_connections}. Keep at most as many as there may be."
            )
        if self.database_url is None:
            problems += self._lonely_database_settings()
        if (self.prometheus_username is None) != (self.prometheus_password is None):
            problems.append("PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD belong together. Set both or neither.")
        if self.prometheus_username is not None and self.prometheus_bearer_token is not None:
            problems.append("PROMETHEUS_USERNAME and PROMETHEUS_BEARER_TOKEN exclude each other. Set one of them.")
        if problems:
            raise SettingsError(problems)
        return self

    def _lonely_database_settings(self) -> Iterable[str]:
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


def load_settings(env_file: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings; `overrides` come from the command line, None meaning not given. Raises SettingsError."""
    given = {"_env_file": env_file} | {name: value for name, value in overrides.items() if value is not None}
    if env_file is not None and not env_file.is_file():
        raise SettingsError([f"--env-file {env_file}: there is no such file."])
    _refuse_unknown(os.environ)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(_problem(detail, env_file) for detail in error.errors(include_url=False)) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"--env-file {env_file}: it is not UTF-8."]) from error


def data_home() -> Path | None:
    """XDG_DATA_HOME, the user's own choice of a data folder (XDG Base Directory Specification)."""
    folder = os.environ.get("XDG_DATA_HOME", "")
    return Path(folder) if folder.startswith("/") else None


def markdown_table() -> str:
    """The settings as the table of the README."""
    rows = ["| setting | default | allowed | what it does |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{name.upper()}` | {_default(field)} | {_allowed(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default is None or field.default == ():
        return ""
    return f"`{field.default}`"


def _allowed(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["allowed"]) if isinstance(extra, Mapping) else ""


def _problem(detail: Any, env_file: Path | None) -> str:
    """One error of pydantic's, in words for the operator."""
    if isinstance(reason := detail.get("ctx", {}).get("error"), SettingsError):
        return str(reason)
    name = str(detail["loc"][0]) if detail["loc"] else ""
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{name.upper()} in {env_file} is not a setting.{_suggestion(name.upper())}"
    secret = "SecretStr" in str(field.annotation)
    value = "" if secret else f"={_given(detail)!r}"
    because = f": {detail['ctx']['error']}" if detail["type"] == "value_error" else ""
    return f"{name.upper()}{value} is not allowed{because}. Allowed: {_allowed(field).replace('`', '')}."


def _given(detail: Any) -> str:
    """The value that was refused, without the credentials that a URL may hold."""
    value = detail["input"]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"//[^@/]*@", "//***@", text)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raises SettingsError for variables that are meant for us and that nothing would read."""
    known = {name.upper() for name in Settings.model_fields}
    problems = []
    for variable, value in environment.items():
        name = variable.upper()
        if value and name not in known and (meant := _slip(name, known - environment.keys())):
            problems.append(f"{variable} is not a setting. {meant} is: rename it, or unset it.")
    if problems:
        raise SettingsError(problems)


def _suggestion(name: str) -> str:
    close = get_close_matches(name, (known.upper() for known in Settings.model_fields), n=1, cutoff=0.75)
    return f" {close[0]} is." if close else " The README lists them."


def _slip(name: str, known: Iterable[str]) -> str | None:
    """The setting that one letter too many, too few, wrong or swapped turns into `name`.

    Short names are left alone, and so are digits: DB_HOST2 is somebody's second database.
    """
    if len(name) < 6 or any(character.isdigit() for character in name):
        return None
    return next((other for other in known if len(other) >= 7 and _one_edit_apart(name, other)), None)


def _one_edit_apart(a: str, b: str) -> bool:
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    swapped = a[:2] == b[1::-1] and a[2:] == b[2:]
    return a != b and (a[1:] == b[1:] or a[1:] == b or a == b[1:] or swapped)
