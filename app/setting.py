"""One setting: how it is declared, and what is said of a wrong value."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic.fields import FieldInfo


class SettingsError(Exception):
    """The settings are wrong; one line for each, with its name, its value and what is allowed. Holds no secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def _http_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("it does not start with http:// or https:// and a host")
    if url.query or url.fragment:
        raise ValueError("it has a query or a fragment")
    if url.username is not None or url.password is not None:
        raise ValueError("it holds credentials")
    return value


HTTPURL = Annotated[str, AfterValidator(_http_url), AfterValidator(lambda value: value.rstrip("/"))]
"""What paths are appended to."""

DocumentURL = Annotated[str, AfterValidator(_http_url)]
"""What is fetched itself: `/jwks` and `/jwks/` may be two things there."""

HTTP_URL = "`http://` or `https://`, a host, a path prefix if there is one, no credentials"


def setting(default: Any, description: str, allowed: str, **constraints: Any) -> Any:
    """A setting: its default, what it does, and its allowed values in words (both in Markdown)."""
    return Field(default=default, description=description, json_schema_extra={"allowed": allowed}, **constraints)


def lower(value: object) -> object:
    """A word in lower case, before it is compared with what is allowed."""
    return value.strip().lower() if isinstance(value, str) else value


def parts(value: str) -> list[str]:
    """What stands between the commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def comma_separated(value: object) -> object:
    """A list that is written with commas; anything else as it is."""
    return parts(value) if isinstance(value, str) else value


def allowed_values(field: FieldInfo) -> str:
    """The allowed values of a setting, in words."""
    extra = field.json_schema_extra
    return str(extra["allowed"]) if isinstance(extra, Mapping) else ""


def problem(name: str, field: FieldInfo, detail: Any) -> str:
    """One error of pydantic's about a setting, in words for the operator. Shows no secret."""
    secret = "SecretStr" in str(field.annotation)
    value = "" if secret else f"={_given(detail)!r}"
    because = f": {detail['ctx']['error']}" if detail["type"] == "value_error" else ""
    return f"{name}{value} is not allowed{because}. Allowed: {allowed_values(field).replace('`', '')}."


def _given(detail: Any) -> str:
    """The value that was refused, without the credentials that a URL may hold."""
    value = detail["input"]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"//[^@/]*@", "//***@", text)
