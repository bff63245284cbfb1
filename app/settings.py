"""Everything that can be set from outside, and the only module that reads the environment.

A setting comes from the first that has it: the command line, the environment, the file given with `--env-file`. An
empty value counts as not set. Names that are meant for us and are none of ours are errors: any other key of the file,
and a variable that is one slip of the keyboard away from a setting.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PrivateAttr, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.alert_settings import AlertVariables
from app.backend_settings import (
    DEFAULT,
    Backend,
    BackendSettings,
    BackendVariables,
    backend_of_variables,
    read_telemetry_config,
)
from app.database_settings import DatabaseVariables
from app.http_settings import HTTPVariables
from app.limit_settings import LimitVariables
from app.observability_settings import ObservabilityVariables
from app.secret_settings import read_secret_files, secret_files, secrets_of
from app.security_settings import SecurityVariables, is_loopback
from app.setting import HTTP_URL, HTTPURL, SettingsError, allowed_values, comma_separated, lower, problem, setting
from app.stream_settings import StreamVariables


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


def _origin(value: str) -> str:
    if value == "*":
        return value
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.netloc or value != f"{url.scheme}://{url.netloc}":
        raise ValueError(f"{value!r} is no origin")
    return value.lower()


Origin = Annotated[str, AfterValidator(_origin)]


if TYPE_CHECKING:

    class SecretFiles(BaseSettings):
        """For each secret, a setting that names the file which holds it."""
else:
    _FILES = secret_files(
        BackendVariables, AlertVariables, SecurityVariables, DatabaseVariables, ObservabilityVariables
    )
    SecretFiles = create_model("SecretFiles", __base__=BaseSettings, **_FILES)


class Settings(
    BackendVariables,
    StreamVariables,
    LimitVariables,
    AlertVariables,
    SecurityVariables,
    HTTPVariables,
    DatabaseVariables,
    ObservabilityVariables,
    SecretFiles,
):
    """What the process is told. Durations are in seconds, sizes in bytes."""

    _backends: dict[Backend, dict[str, BackendSettings]] = PrivateAttr(default_factory=dict)

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True, validate_default=False
    )

    host: str = setting("127.0.0.1", "Address to listen on; `0.0.0.0` for all.", "an address or a host name")
    port: int = setting(9000, "Port to listen on; 0 takes a free one.", "0 to 65535", ge=0, le=65535)
    workers: int = setting(
        1, "Processes that serve the port together: one for each core is plenty.", "1 to 128", ge=1, le=128
    )

    prometheus_scrape_interval_seconds: float = setting(
        15,
        "How often Prometheus scrapes the services, which rates have to span several times.",
        "1 to 3600",
        ge=1,
        le=3600,
    )
    slo_evaluation_interval_seconds: float = setting(
        60, "How often SLOs are evaluated, by one process of all.", "1 to 3600", ge=1, le=3600
    )
    slo_query_timeout_seconds: float = setting(
        30, "Time for one query of the evaluation, which asks for up to 100 SLOs.", "0.1 to 300", ge=0.1, le=300
    )
    tempo_longest_search_hours: float = setting(
        168,
        "Longest range of a search, as Tempo's own `search.max_duration`; longer ones are refused.",
        "1 to 87600",
        ge=1,
        le=87_600,
    )

    detection_interval_seconds: float = setting(
        30, "How often detection rules are evaluated; 0 for never.", "0 to 3600", ge=0, le=3_600
    )
    service_graph_interval_seconds: float = setting(
        300,
        "How often what calls what is read from Prometheus or Tempo; 0 for never.",
        "0 to 86400",
        ge=0,
        le=86_400,
    )
    traced_dependency_retention_hours: float = setting(
        168, "How long a dependency that is no longer seen in traces is kept.", "1 to 8760", ge=1, le=8_760
    )
    analysis_deadline_seconds: float = setting(
        10, "Time that backends get to answer what an analysis asks; what is late is a gap.", "1 to 60", ge=1, le=60
    )
    grafana_url: HTTPURL | None = setting(
        None, "Grafana, whose Explore shows the queries of evidence. No links without it.", HTTP_URL
    )
    grafana_prometheus_uid: str = setting("prometheus", "What Grafana calls Prometheus: its data source's uid.", "text")
    grafana_loki_uid: str = setting("loki", "What Grafana calls Loki.", "text")
    grafana_tempo_uid: str = setting("tempo", "What Grafana calls Tempo.", "text")
    telemetry_config: Path | None = setting(
        None,
        "File with further instances of telemetry backends: `prometheus: {eu: {url: https://..., tenant: shop}}`, the "
        "names as in `<BACKEND>_...` in lower case. Files that it names are looked for beside it.",
        "a path to a YAML file",
    )
    telemetry_cache_seconds: float = setting(
        0, "How long answers to range queries are kept for others who ask the same; 0 for not at all.", "0 to 300",
        ge=0, le=300,
    )  # fmt: skip
    telemetry_cache_max_bytes: int = setting(
        33_554_432, "How much of them is kept, for each instance of a backend.", "65536 to 1073741824 (1 GiB)",
        ge=65_536, le=1_073_741_824,
    )  # fmt: skip

    operation_timeout_seconds: float = setting(
        15, "Time for one request, from its headers to its answer.", "0.1 to 300", ge=0.1, le=300
    )
    header_timeout_seconds: float = setting(
        10, "Time that a client gets to send the headers of a request.", "0.1 to 300", ge=0.1, le=300
    )
    shutdown_timeout_seconds: float = setting(
        20, "Time that running requests get to finish when the server is told to stop.", "1 to 600", ge=1, le=600
    )
    max_body_bytes: int = setting(
        1_048_576, "Largest request body.", "1024 to 104857600 (100 MiB)", ge=1024, le=104_857_600
    )
    graphql_http_profile: Annotated[GraphQLHTTPProfile, BeforeValidator(lower)] = setting(
        GraphQLHTTPProfile.DEFAULT,
        "Status codes of `/graphql`: what clients of today expect, or the draft of 2026 (422, 294).",
        ", ".join(map(str, GraphQLHTTPProfile)),
    )
    cors_allowed_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(comma_separated)] = setting(
        (),
        "Web pages of other origins that may call us, separated by commas. None by default.",
        "origins such as `https://example.com`, or `*`",
    )

    log_level: Annotated[LogLevel, BeforeValidator(lower)] = setting(
        LogLevel.INFO, "Least severe log lines that are written; every request is one of level info.",
        ", ".join(map(str, LogLevel)),
    )  # fmt: skip
    log_format: Annotated[LogFormat, BeforeValidator(lower)] | None = setting(
        None, "How log lines look: by default `console` on a terminal and `json` elsewhere.",
        ", ".join(map(str, LogFormat)),
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, given: dict[str, Any]) -> dict[str, Any]:
        return read_secret_files(SecretFiles.model_fields, given)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems = [
            *self.database_problems(),
            *self.http_problems(),
            *self.security_problems(self.host),
            *self.observability_problems(),
            *self._find_backends(),
        ]
        if problems:
            raise SettingsError(problems)
        return self

    def backends(self, backend: Backend) -> Mapping[str, BackendSettings]:
        """The instances of a backend, by their names."""
        return self._backends.get(backend, {})

    def answered_hosts(self) -> tuple[str, ...] | None:
        """The names by which clients may ask, beside those that mean the client's own machine; None for any."""
        if "*" in self.allowed_hosts:
            return None
        is_open_to_this_machine = not self.auth_enabled and is_loopback(self.host)
        return self.allowed_hosts if self.allowed_hosts or is_open_to_this_machine else None

    def secrets(self) -> Iterator[str]:
        """Every secret that is known, for whoever has to keep them out of what people read."""
        yield from secrets_of(self)
        for instances in self._backends.values():
            for instance in instances.values():
                yield from secrets_of(instance)

    def _find_backends(self) -> list[str]:
        """Put together what the variables and the file say of the backends; return what is wrong with it."""
        problems: list[str] = []
        found: dict[Backend, dict[str, BackendSettings]] = {}
        for backend in Backend:
            one, wrong = backend_of_variables(backend, self)
            problems += wrong
            if one is not None:
                found[backend] = {DEFAULT: one}
        if self.telemetry_config is not None:
            try:
                configured = read_telemetry_config(self.telemetry_config)
            except SettingsError as error:
                return [*problems, *error.problems]
            for backend, instances in configured.items():
                if DEFAULT in instances and DEFAULT in found.get(backend, {}):
                    problems.append(
                        f"TELEMETRY_CONFIG {self.telemetry_config}: {backend}.{DEFAULT} is configured by "
                        f"{backend.upper()}_URL as well. Give it another name, or unset the variable."
                    )
                found[backend] = {**found.get(backend, {}), **instances}
        self._backends = found
        return problems


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
    fields = {name: field for name, field in Settings.model_fields.items() if name not in BackendVariables.model_fields}
    fields |= {f"<BACKEND>_{name}": field for name, field in BackendSettings.model_fields.items()}
    rows = ["| setting | default | allowed | what it does |", "|---|---|---|---|"]
    for name, field in fields.items():
        rows.append(f"| `{name.upper()}` | {_default(field)} | {allowed_values(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default in (None, (), {}):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _problem(detail: Any, env_file: Path | None) -> str:
    """One error of pydantic's, in words for the operator."""
    if isinstance(reason := detail.get("ctx", {}).get("error"), SettingsError):
        return str(reason)
    name = str(detail["loc"][0]) if detail["loc"] else ""
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{name.upper()} in {env_file} is not a setting.{_suggestion(name.upper())}"
    return problem(name.upper(), field, detail)


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
