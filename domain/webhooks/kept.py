"""What of an alert can be kept. Monitoring systems do not read our errors: rather a shortened alert than none."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from domain.alerts import AlertStatus
from domain.errors import ValidationFailed
from domain.incidents import Severity
from domain.limits import (
    LABEL_NAME_CHARACTERS,
    LABEL_VALUE_CHARACTERS,
    LABELS,
    NAME_CHARACTERS,
    TEXT_CHARACTERS,
)
from domain.text import UNSTORABLE, clipped, optional_url

ANNOTATIONS_CHARACTERS: Final = 50_000
"""All annotations of an alert together."""

_EARLIEST: Final = datetime(1971, 1, 1, tzinfo=UTC)
_ZERO_YEARS: Final = (1, 1969, 1970)  # Zeros of some kind, which say nothing: 0001-01-01, 1970-01-01.
_AHEAD: Final = timedelta(minutes=5)
_LONGEST_LIFE: Final = timedelta(days=3660)
_FRACTION: Final = re.compile(r"(\.\d{6})\d+")

_SEVERITIES: Final[Mapping[str, Severity]] = {
    **dict.fromkeys(("critical", "crit", "page", "emergency", "fatal", "disaster", "p1", "sev1"), Severity.CRITICAL),
    **dict.fromkeys(("high", "error", "major", "alert", "severe", "p2", "sev2"), Severity.HIGH),
    **dict.fromkeys(("medium", "warning", "warn", "minor", "average", "ticket", "p3", "sev3"), Severity.MEDIUM),
    **dict.fromkeys(("low", "info", "information", "informational", "notice", "none", "debug", "p4", "p5", "sev4"),
                    Severity.LOW),
}  # fmt: skip
_TELLING: Final = frozenset({"alertname", "service", "service_name", "severity", "job", "app", "namespace", "summary"})
_FIRING: Final = frozenset(
    {"firing", "alerting", "triggered", "trigger", "open", "active", "critical", "problem", "down"}
)
_RESOLVED: Final = frozenset({"resolved", "resolve", "ok", "closed", "close", "inactive", "normal", "recovered", "up"})


class Keeper:
    """Reads the parts of one alert, and remarks what could not be kept of them."""

    def __init__(self, received_at: datetime) -> None:
        self._received_at = received_at
        self._remarks: list[str] = []

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was shortened, replaced or left out so far."""
        return tuple(self._remarks)

    def text(self, value: object, what: str, limit: int) -> str:
        """A text that Postgres can hold. Numbers and booleans are written as JSON writes them."""
        if type(value) is str and value.isascii() and "\0" not in value and len(value) <= limit:
            return value  # As almost all are.
        written = _written(value)
        if written is None:
            if value is not None:
                self._remarks.append(f"{what} is no text and was left out")
            return ""
        if UNSTORABLE.search(written):
            self._remarks.append(f"{what} held characters that cannot be stored, which were replaced")
            written = UNSTORABLE.sub("\ufffd", written)
        if len(written) > limit:
            self._remarks.append(f"{what} was shortened from {len(written)} to {limit} characters")
        return clipped(written, limit)

    def labels(self, value: object) -> dict[str, str]:
        """Labels. Where there are too many, those that say what and where are kept first."""
        return self._texts(value, "label", LABEL_VALUE_CHARACTERS, LABELS)

    def annotations(self, value: object) -> dict[str, str]:
        """Annotations, each and all of them bounded."""
        kept = self._texts(value, "annotation", TEXT_CHARACTERS, LABELS)
        left = ANNOTATIONS_CHARACTERS
        for name, text in kept.items():
            kept[name] = self.text(text, f'annotation "{name}"', left) if left > 0 else ""
            left -= len(kept[name])
        return kept

    def name(self, *candidates: object) -> str:
        """The first of these that says something, on one line; "Alert" where none does."""
        for candidate in candidates:
            line = " ".join(self.text(candidate, "name", TEXT_CHARACTERS).split())
            if not line.isprintable():
                line = "".join(character for character in line if character.isprintable())
            if line:
                return clipped(line, NAME_CHARACTERS)
        return "Alert"

    def url(self, value: object) -> str | None:
        """A link that a browser can follow, or None."""
        if value is None or value == "":
            return None
        try:
            return _link(value) if isinstance(value, str) else optional_url(value, "link")
        except ValidationFailed as error:
            self._remarks.append(f"a link was left out: {error.message}")
            return None

    def start(self, value: object) -> datetime | None:
        """When it began. What lies ahead is taken for the moment at which it arrived."""
        time = self._time(value, "start")
        if time is not None and time > self._received_at + _AHEAD:
            self._remarks.append(f"its start {time.isoformat()} lies in the future: the time of arrival was taken")
            return self._received_at
        return time

    def end(self, value: object) -> datetime | None:
        """When it ended, or will be taken to have ended."""
        time = self._time(value, "end")
        if time is not None and time > self._received_at + _LONGEST_LIFE:
            self._remarks.append(f"its end {time.isoformat()} lies too far ahead and was left out")
            return None
        return time

    def _time(self, value: object, what: str) -> datetime | None:
        if value is None or value == "":
            return None
        time = parsed_time(value)
        if time is None:
            self._remarks.append(f"its {what} is no time and was left out")
            return None
        if time >= _EARLIEST:
            return time
        if time.year not in _ZERO_YEARS:
            self._remarks.append(f"its {what} {time.isoformat()} lies too far back and was left out")
        return None

    def _texts(self, value: object, what: str, limit: int, most: int) -> dict[str, str]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise ValidationFailed(f"its {what}s are no object of names and texts")
        kept: dict[str, str] = {}
        for given in sorted(value, key=lambda name: (name not in _TELLING, name)):
            name = self.text(given, f"{what} name", LABEL_NAME_CHARACTERS).strip()
            if not name or name in kept:
                self._remarks.append(f"a {what} without a name of its own was left out")
            elif len(kept) == most:
                self._remarks.append(f"it has {len(value)} {what}s, of which {most} were kept")
                break
            elif (text := self.text(value[given], f'{what} "{name}"', limit)) or value[given] == "":
                kept[name] = text
        return kept


@lru_cache(maxsize=4_096)
def _link(value: str) -> str | None:
    """The alerts of a rule all have the same."""
    return optional_url(value, "link")


def severity_of(*said: object, default: Severity = Severity.MEDIUM) -> Severity:
    """The severity that the first of these means, in the words that monitoring systems use."""
    for word in said:
        if isinstance(word, str) and (known := _SEVERITIES.get(word.strip().lower())) is not None:
            return known
    return default


def status_of(said: object) -> AlertStatus | None:
    """Whether a word means that it fires or that it is over; None for any other."""
    word = said.strip().lower() if isinstance(said, str) else None
    return AlertStatus.FIRING if word in _FIRING else AlertStatus.RESOLVED if word in _RESOLVED else None


def parsed_time(value: object) -> datetime | None:
    """RFC 3339 with an offset (nanoseconds are cut), or seconds, milliseconds or nanoseconds since 1970."""
    try:
        match value:
            case bool():
                return None
            case int() | float() if math.isfinite(value):
                return datetime.fromtimestamp(_seconds(value), UTC)
            case str():
                time = datetime.fromisoformat(_FRACTION.sub(r"\1", value.strip()))
                return time.astimezone(UTC) if time.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None
    return None


def first_of(given: Mapping[str, Any], names: Iterable[str]) -> Any:
    """What the first of these names holds that is there and not null."""
    return next((given[name] for name in names if given.get(name) is not None), None)


def _seconds(since_1970: float) -> float:
    for unit in (1e9, 1e6, 1e3):
        if abs(since_1970) >= 1e8 * unit:  # In that unit, it is later than 1973; in seconds, later than the year 3000.
            return since_1970 / unit
    return since_1970


def _written(value: object) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    return None
