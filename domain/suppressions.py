"""Why nobody was told of an alert: windows of maintenance, silences, causes that are known already."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from domain.errors import ValidationFailed
from domain.text import line, storable

MATCHERS: Final = 32
MATCHER_CHARACTERS: Final = 1_000


class SuppressionKind(StrEnum):
    """What kept an alert from being told."""

    MAINTENANCE = "MAINTENANCE"
    SILENCE = "SILENCE"
    INHIBITION = "INHIBITION"
    MUTE = "MUTE"


@dataclass(frozen=True, slots=True)
class LabelMatcher:
    """A condition on a label, as Alertmanager has them: a missing label is an empty one, a pattern matches it all."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil it. What is no pattern matches nothing."""
        given = labels.get(self.name, "")
        if not self.is_regex:
            return (given == self.value) is self.is_equal
        try:
            return (re.fullmatch(self.value, given) is not None) is self.is_equal
        except re.error:
            return False

    def as_json(self) -> dict[str, Any]:
        """As it is stored, and as Alertmanager's API has it."""
        return {"name": self.name, "value": self.value, "isRegex": self.is_regex, "isEqual": self.is_equal}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "LabelMatcher":
        """What `as_json` gave."""
        return cls(stored["name"], stored["value"], bool(stored.get("isRegex")), bool(stored.get("isEqual", True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """A time in which nobody is told of the alerts of a service, or of those that all matchers match, or of both."""

    kind: SuppressionKind
    by: str
    reason: str
    starts_at: datetime
    ends_at: datetime | None
    service_id: UUID | None = None
    matchers: tuple[LabelMatcher, ...] = ()

    def covers(self, service_id: UUID | None, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels, about this service, is one of them."""
        if self.service_id is None and not self.matchers:
            return False
        is_there = self.service_id is None or self.service_id == service_id
        return is_there and all(matcher.matches(labels) for matcher in self.matchers)


def quieting(quiets: Iterable[Quiet], service_id: UUID | None, labels: Mapping[str, str]) -> Quiet | None:
    """What keeps an alert from being told, of several the one that lasts longest."""
    found = [quiet for quiet in quiets if quiet.covers(service_id, labels)]
    return max(found, key=lambda quiet: (quiet.ends_at is None, quiet.ends_at or quiet.starts_at)) if found else None


def checked_matchers(given: Sequence[Mapping[str, Any]], *path: str) -> tuple[LabelMatcher, ...]:
    """Matchers that somebody wrote. Raises ValidationFailed."""
    if len(given) > MATCHERS:
        raise ValidationFailed(f"There are more than {MATCHERS} matchers", path)
    return tuple(_checked(matcher, *path, str(position)) for position, matcher in enumerate(given))


def _checked(given: Mapping[str, Any], *path: str) -> LabelMatcher:
    matcher = LabelMatcher(
        line(given.get("name"), "Label name", *path, "name"),
        storable(given.get("value"), "Value", *path, "value", limit=MATCHER_CHARACTERS),
        bool(given.get("is_regex")),
        given.get("is_equal") is not False,
    )
    if matcher.is_regex:
        try:
            re.compile(matcher.value)
        except re.error as error:
            raise ValidationFailed(f"Value is no regular expression: {error}", (*path, "value")) from error
    return matcher
