"""Settings that are secrets: read from files where `<SETTING>_FILE` names one, and known to whoever must not show them.

Environment variables are inherited by children and shown by many tools; a file has an owner. Docker and Kubernetes
mount secrets as files.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.setting import SettingsError, setting

_SUFFIX = "_file"
_MOST_CHARACTERS = 65_536


def secret_files(*variables: type[BaseModel]) -> dict[str, Any]:
    """A field `<name>_file` for each field of the models that is a secret and has none yet."""
    fields = {name: field for model in variables for name, field in model.model_fields.items()}
    return {
        name + _SUFFIX: (
            Path | None,
            setting(None, f"File with `{name.upper()}`, instead; read at the start.", "a path"),
        )
        for name, field in fields.items()
        if _is_secret(field) and name + _SUFFIX not in fields
    }


def read_secret_files(files: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The given values, and those in files that they name. Raises SettingsError."""
    problems = []
    values = dict(given)
    for name in files:
        path = given.get(name)
        if path is None:
            continue
        secret = name.removesuffix(_SUFFIX)
        if given.get(secret) is not None:
            problems.append(f"{secret.upper()} and {name.upper()} exclude each other. Set one of them.")
            continue
        try:
            text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            problems.append(f"{name.upper()}={str(path)!r} cannot be read: {why}.")
            continue
        if not text or len(text) > _MOST_CHARACTERS:
            problems.append(f"{name.upper()}={str(path)!r} is {'empty' if not text else 'too long for a secret'}.")
        values[secret] = text
    if problems:
        raise SettingsError(problems)
    return values


def secrets_of(settings: BaseModel) -> Iterator[str]:
    """The secrets that settings hold: whole values, and of a URL or a list of `name=secret` the secrets in it."""
    for _, value in settings:
        for secret in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(secret, SecretStr):
                yield from _within(secret.get_secret_value())


def _within(value: str) -> Iterator[str]:
    if "://" in value:
        password = urlsplit(value).password
        if password:
            yield password
            yield unquote(password)
        return
    yield value
    for part in value.split(","):
        name, separator, secret = part.partition("=")
        if separator and name.strip():
            yield secret.strip()


def _is_secret(field: FieldInfo) -> bool:
    annotation = str(field.annotation)
    return "SecretStr" in annotation and "dict" not in annotation
