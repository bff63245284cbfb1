"""How the telemetry backends are reached: the same settings for each instance of each of them.

One instance of each is configured by variables (`PROMETHEUS_URL`, `LOKI_TENANT`, ...), any number by the file that
`TELEMETRY_CONFIG` names. Both follow from one declaration, `BackendSettings`.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError, create_model
from pydantic_settings import BaseSettings, NoDecode

from app.setting import HTTP_URL, HTTPURL, SettingsError, problem, setting
from domain.telemetry import DEFAULT_INSTANCE, INSTANCE_NAME

DEFAULT = DEFAULT_INSTANCE


class Backend(StrEnum):
    """A telemetry backend, as settings name it."""

    PROMETHEUS = "prometheus"
    LOKI = "loki"
    TEMPO = "tempo"
    PUSHGATEWAY = "pushgateway"
    ALERTMANAGER = "alertmanager"

    @property
    def product(self) -> str:
        """As people write it."""
        return self.value.capitalize()


def _headers(value: object) -> object:
    """`name=value,name=value`, as OTEL_EXPORTER_OTLP_HEADERS has them, as a mapping."""
    if not isinstance(value, str):
        return value
    headers = {}
    for part in filter(None, map(str.strip, value.split(","))):
        name, equals, text = part.partition("=")
        if not equals:
            raise ValueError("a header is without `=`")
        headers[name.strip()] = text.strip()
    return headers


class BackendSettings(BaseModel):
    """How one instance of a backend is reached, and how much of it is used."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: HTTPURL | None = setting(None, "Where it is. Without it, the backend is not used.", HTTP_URL)
    username: str | None = setting(None, "User for basic authentication.", "text")
    password: SecretStr | None = setting(None, "That user's password.", "text")
    password_file: Path | None = setting(None, "File with the password, instead; read again when it changes.", "a path")
    bearer_token: SecretStr | None = setting(None, "Token to send, instead of user and password.", "text")
    bearer_token_file: Path | None = setting(
        None, "File with the token, instead; read again when it changes.", "a path"
    )
    tenant: str | None = setting(None, "Tenant to ask for, sent as `X-Scope-OrgID`.", "text")
    headers: Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_headers)] = setting(
        {}, "Further headers to send.", "`name=value`, separated by commas"
    )
    tls_ca_file: Path | None = setting(
        None, "The authorities to trust, instead of the usual ones and the machine's.", "a path to a PEM file"
    )
    tls_cert_file: Path | None = setting(None, "Our client certificate.", "a path to a PEM file")
    tls_key_file: Path | None = setting(
        None, "Its key, where that is in another file.", "a path to a PEM file without a password"
    )
    tls_server_name: str | None = setting(
        None, "The name that the server's certificate has to be for, instead of the URL's host.", "a host name"
    )
    tls_insecure_skip_verify: bool = setting(
        False, "Trust any certificate. Whoever sits in between can then read and change everything.", "true, false"
    )
    timeout_seconds: float | None = setting(
        None, "Longest time for one call. By default, what the request has left.", "0.1 to 300", ge=0.1, le=300
    )
    max_connections: int = setting(
        20, "Most calls at a time; further ones wait for their turn.", "1 to 1000", ge=1, le=1000
    )
    max_response_bytes: int = setting(
        16_777_216,
        "Largest answer that is read, after decompression.",
        "1024 to 1073741824 (1 GiB)",
        ge=1024,
        le=1_073_741_824,
    )

    def problems(self, names: Mapping[str, str]) -> Iterable[str]:
        """What does not fit together. `names` are what the operator calls the settings."""
        given = self.model_fields_set
        if self.url is None:
            for name in sorted(given - {"url"}):
                yield f"{names[name]} is set, but {names['url']} is not. Set it, or unset {names[name]}."
            return
        passwords = [name for name in ("password", "password_file") if getattr(self, name) is not None]
        if (self.username is None) != (not passwords):
            yield f"{names['username']} and {names['password']} belong together. Set both or neither."
        ways = [
            *passwords,
            *(name for name in ("bearer_token", "bearer_token_file") if getattr(self, name) is not None),
        ]
        if len(ways) > 1:
            yield f"{' and '.join(names[way] for way in ways)} exclude each other. Set one of them."
        if self.tls_key_file is not None and self.tls_cert_file is None:
            yield f"{names['tls_key_file']} is set, but {names['tls_cert_file']} is not. Set both or neither."
        if self.url.startswith("http://"):
            for name in sorted(name for name in given if name.startswith("tls_")):
                yield f"{names[name]} is set, but {names['url']} does not start with https://. Change one of them."


def _variables() -> dict[str, Any]:
    """A field for each setting of each backend: `prometheus_url`, ..."""
    variables = {}
    for backend in Backend:
        for name, field in BackendSettings.model_fields.items():
            variables[f"{backend}_{name}"] = (field.annotation, copy(field))
    return variables


if TYPE_CHECKING:

    class BackendVariables(BaseSettings):
        """The settings of one instance of each backend, as variables."""
else:
    BackendVariables = create_model("BackendVariables", __base__=BaseSettings, **_variables())


def backend_of_variables(backend: Backend, settings: BaseSettings) -> tuple[BackendSettings | None, list[str]]:
    """What the variables say of a backend, if anything, and what is wrong with it."""
    names = {name: f"{backend}_{name}" for name in BackendSettings.model_fields}
    given = {name: getattr(settings, field) for name, field in names.items() if field in settings.model_fields_set}
    one = BackendSettings.model_construct(set(given), **given)
    problems = list(one.problems({name: field.upper() for name, field in names.items()}))
    return None if one.url is None else one, problems


def read_telemetry_config(path: Path) -> dict[Backend, dict[str, BackendSettings]]:
    """The instances that a file names: by backend, by name. Raises SettingsError, which holds nothing of a secret."""
    file = f"TELEMETRY_CONFIG {path}"
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise SettingsError([f"{file}: it cannot be read ({error.strerror})."]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise SettingsError([f"{file}: it is not YAML{where}."]) from None
    found: dict[Backend, dict[str, BackendSettings]] = {}
    problems: list[str] = []
    for backend, name, values in _entries(document, file, problems):
        one = _instance(f"{file}: {backend}.{name}", values, path.parent, problems)
        if one is not None:
            found.setdefault(backend, {})[name] = one
    if problems:
        raise SettingsError(problems)
    return found


def _entries(document: object, file: str, problems: list[str]) -> Iterable[tuple[Backend, str, Mapping[str, Any]]]:
    """The instances in a document, each with its settings; what is none goes to the problems."""
    allowed = ", ".join(Backend)
    if not isinstance(document, Mapping):
        problems.append(f"{file}: it has to be a mapping of backends ({allowed}).")
        return
    for backend, instances in document.items():
        if backend not in list(Backend):
            problems.append(f"{file}: {backend!s:.100} is not a backend. Allowed: {allowed}.")
        elif not isinstance(instances, Mapping):
            problems.append(f"{file}: {backend} has to be a mapping of names of instances to their settings.")
        else:
            for name, values in instances.items():
                if not isinstance(name, str) or not INSTANCE_NAME.fullmatch(name):
                    problems.append(
                        f"{file}: {backend}.{name!s:.100} is no name of an instance. "
                        "Allowed: up to 63 small letters, digits, - and _."
                    )
                elif not isinstance(values, Mapping):
                    problems.append(f"{file}: {backend}.{name} has to be a mapping of settings.")
                else:
                    yield Backend(backend), name, values


def _instance(place: str, values: Mapping[str, Any], folder: Path, problems: list[str]) -> BackendSettings | None:
    try:
        one = BackendSettings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            field = BackendSettings.model_fields.get(name)
            if field is None:
                problems.append(f"{place}.{name} is not a setting. Allowed: {', '.join(BackendSettings.model_fields)}.")
            else:
                problems.append(problem(f"{place}.{name}", field, detail))
        return None
    if one.url is None:
        problems.append(f"{place}.url is missing. Allowed: {HTTP_URL.replace('`', '')}.")
        return None
    problems += one.problems({name: f"{place}.{name}" for name in BackendSettings.model_fields})
    paths = {name: folder / value for name, value in one if isinstance(value, Path)}
    return one.model_copy(update=paths)
