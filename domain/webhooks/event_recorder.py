"""What Alertmanager's event recorder posts (0.33 and later, behind `--enable-feature=event-recorder`).

Each event is the JSON of a protobuf message (eventrecorderpb.Event), alone or, with `batch: true`, in a list: names in
camel case, what is empty left out. Of its kinds only those are read that say why nobody is told of an alert:
`silenceMutedAlert` and `inhibitionMutedAlert`. They come again with every look that Alertmanager takes at the alert.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.errors import ValidationFailed
from domain.limits import TEXT_CHARACTERS, TITLE_CHARACTERS
from domain.suppressions import SuppressionKind
from domain.text import clipped
from domain.webhooks.kept import Keeper

EVENTS: Final = 10_000
INHIBITED: Final = "Alertmanager's inhibition by another alert"
"""What is said of an inhibition of which no more is known."""

_FINGERPRINTS: Final = range(2**64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Muted:
    """That an alert was kept from being told, and by what. `starts_at` None: since the alert began."""

    fingerprint: str
    kind: SuppressionKind
    by: str
    reason: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def read(body: Any, *, received_at: datetime) -> list[Muted]:
    """What the events of a request (its JSON) say. Raises ValidationFailed for what holds no events."""
    events = body if isinstance(body, list) else [body]
    if len(events) > EVENTS:
        raise ValidationFailed(f"There are more than {EVENTS} events in one request")
    if not all(isinstance(event, Mapping) and isinstance(event.get("data"), Mapping) for event in events):
        raise ValidationFailed("An event of Alertmanager's event recorder is a JSON object with `data`", ("data",))
    return [muted for event in events for muted in _muted(event["data"], Keeper(received_at))]


def _muted(data: Mapping[str, Any], keep: Keeper) -> Iterator[Muted]:
    silenced, inhibited = _object(data, "silenceMutedAlert"), _object(data, "inhibitionMutedAlert")
    silence = _object(silenced, "silence")
    if (told := _fingerprint(_object(silenced, "mutedAlert").get("fingerprint"))) and silence.get("id"):
        yield Muted(
            fingerprint=told,
            kind=SuppressionKind.SILENCE,
            by=keep.text(silence["id"], "silence", TITLE_CHARACTERS),
            reason=keep.text(silence.get("comment"), "comment", TEXT_CHARACTERS),
            starts_at=keep.start(silence.get("startsAt")),
            ends_at=keep.end(silence.get("endsAt")),
        )
    if told := _fingerprint(_object(inhibited, "mutedAlert").get("fingerprint")):
        causes = inhibited.get("inhibitingFingerprints")
        for cause in filter(None, map(_fingerprint, causes if isinstance(causes, list) else ())):
            reason = clipped(f"{INHIBITED}{_rule(inhibited, keep)}", TEXT_CHARACTERS)
            yield Muted(fingerprint=told, kind=SuppressionKind.INHIBITION, by=cause, reason=reason)


def _rule(inhibited: Mapping[str, Any], keep: Keeper) -> str:
    """The name of the rule that inhibits, where it has one (0.34 and later)."""
    rules = inhibited.get("inhibitRules")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, Mapping) and (name := keep.text(rule.get("name"), "rule", TITLE_CHARACTERS)):
            return f', by the rule "{name}"'
    return ""


def _object(held: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = held.get(name)
    return value if isinstance(value, Mapping) else {}


def _fingerprint(value: Any) -> str | None:
    """A fingerprint as alerts have it: protobuf's JSON writes 64-bit numbers as decimal text."""
    try:
        number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else -1
    except ValueError:
        return None
    return f"{number:016x}" if number in _FINGERPRINTS else None
