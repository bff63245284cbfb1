"""Alertmanager's API, version 2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote

from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadQuery, TelemetryBadResponse, TelemetryError
from telemetry_clients.prometheus.promql import label_name
from telemetry_clients.prometheus.samples import labels
from telemetry_clients.transport import Answer, Transport

Parsed = TypeVar("Parsed")

_LONGEST_REASON: Final = 500
_MISSHAPEN: Final = (AttributeError, KeyError, IndexError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label. A regular expression (RE2) matches the whole value."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def __str__(self) -> str:
        """As Alertmanager reads it, as in `service="checkout"`. Raises TelemetryBadQuery for a name that is none."""
        operator = ("=" if self.is_equal else "!") + ("~" if self.is_regex else "" if self.is_equal else "=")
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{label_name(self.name)}{operator}"{value}"'


@dataclass(frozen=True, slots=True)
class Silence:
    """A promise to tell nobody of the alerts that all `matchers` match. `state` is pending, active or expired."""

    id: str
    state: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    created_by: str
    comment: str


@dataclass(frozen=True, slots=True)
class NotifiedAlert:
    """An alert that Alertmanager has. `state` is active, suppressed or unprocessed."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    generator_url: str
    receivers: tuple[str, ...]
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]
    muted_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """Alerts that a receiver is told of together, and the labels that they share."""

    labels: Mapping[str, str]
    receiver: str
    alerts: tuple[NotifiedAlert, ...]


@dataclass(frozen=True, slots=True)
class AlertmanagerStatus:
    """What answers, since when, and how its cluster is (`ready`, `settling` or `disabled`)."""

    version: str
    started_at: datetime
    cluster_status: str


class Alertmanager:
    """A client of one Alertmanager. Every call raises TelemetryError or nothing, at its deadline at the latest."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def status(self, *, deadline: Deadline) -> AlertmanagerStatus:
        """Its version and state: a question that costs nothing."""
        answer = await self._transport.get("/api/v2/status", deadline=deadline)
        return self._parse(answer, "a status", _status)

    async def alerts(
        self,
        matchers: Sequence[Matcher] = (),
        *,
        active: bool = True,
        silenced: bool = True,
        inhibited: bool = True,
        receiver: str | None = None,
        deadline: Deadline,
    ) -> tuple[NotifiedAlert, ...]:
        """The alerts that all matchers match, without those that are not wanted.

        `receiver` is a regular expression of those that are told of them.
        """
        parameters = _filter(matchers)
        for name, wanted in (("active", active), ("silenced", silenced), ("inhibited", inhibited)):
            if not wanted:
                parameters[name] = "false"
        if receiver is not None:
            parameters["receiver"] = receiver
        answer = await self._transport.get("/api/v2/alerts", parameters=parameters, deadline=deadline)
        return self._parse(answer, "alerts", lambda data: tuple(map(_alert, _list(data))))

    async def alert_groups(self, matchers: Sequence[Matcher] = (), *, deadline: Deadline) -> tuple[AlertGroup, ...]:
        """The alerts that all matchers match, in the groups in which receivers are told of them."""
        answer = await self._transport.get("/api/v2/alerts/groups", parameters=_filter(matchers), deadline=deadline)
        return self._parse(answer, "groups of alerts", lambda data: tuple(map(_group, _list(data))))

    async def silences(self, matchers: Sequence[Matcher] = (), *, deadline: Deadline) -> tuple[Silence, ...]:
        """The silences that have matchers for all of these, those expired a while ago excepted."""
        answer = await self._transport.get("/api/v2/silences", parameters=_filter(matchers), deadline=deadline)
        return self._parse(answer, "silences", lambda data: tuple(map(_silence, _list(data))))

    async def silence(self, id: str, *, deadline: Deadline) -> Silence | None:
        """A silence, or None where there is none of this id."""
        answer = await self._transport.get(f"/api/v2/silence/{quote(id, safe='')}", deadline=deadline)
        return None if answer.status == 404 else self._parse(answer, "a silence", _silence)

    async def create_silence(
        self,
        matchers: Sequence[Matcher],
        *,
        starts_at: datetime,
        ends_at: datetime,
        created_by: str,
        comment: str,
        deadline: Deadline,
    ) -> str:
        """Silence the alerts that all matchers match, and return the silence's id. Not repeated by itself: a second
        time would make a second silence.
        """
        silence = {
            "matchers": [
                {
                    "name": matcher.name,
                    "value": matcher.value,
                    "isRegex": matcher.is_regex,
                    "isEqual": matcher.is_equal,
                }
                for matcher in matchers
            ],
            "startsAt": _moment(starts_at),
            "endsAt": _moment(ends_at),
            "createdBy": created_by,
            "comment": comment,
        }
        answer = await self._transport.post_json("/api/v2/silences", body=silence, deadline=deadline)
        return self._parse(answer, "the id of a silence", lambda data: str(data["silenceID"]))

    async def expire_silence(self, id: str, *, deadline: Deadline) -> bool:
        """End a silence now. False where there is none of this id; one that has ended stays as it is."""
        answer = await self._transport.delete(
            f"/api/v2/silence/{quote(id, safe='')}", deadline=deadline, idempotent=True
        )
        reason = "" if answer.succeeded else _reason(self._transport, answer)
        # Until 0.28, Alertmanager answers HTTP 500 to both.
        if answer.status == 404 or "silence not found" in reason:
            return False
        if not answer.succeeded and "already expired" not in reason:
            raise self._failure(answer)
        return True

    def _parse(self, answer: Answer, expected: str, parse: Callable[[Any], Parsed]) -> Parsed:
        if not answer.succeeded:
            raise self._failure(answer)
        data = self._transport.decode(answer)
        try:
            return parse(data)
        except _MISSHAPEN as error:
            raise TelemetryBadResponse(
                "Alertmanager",
                f"{self._transport.address} answered without {expected}, unlike Alertmanager. Check that it is one.",
            ) from error

    def _failure(self, answer: Answer) -> TelemetryError:
        """The error for an answer that says no, in Alertmanager's own words where it has some."""
        reason = _reason(self._transport, answer)
        if answer.status in (400, 422) and reason:
            return TelemetryBadQuery("Alertmanager", f"Alertmanager refused this: {reason}")
        return self._transport.refusal(answer, reason)


def _reason(transport: Transport, answer: Answer) -> str:
    """What an error says: a JSON text, or the `message` of an object."""
    try:
        body = transport.decode(answer)
    except TelemetryBadResponse:
        return ""
    match body:
        case str(reason) | {"message": str(reason)}:
            return reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "..."
    return ""


def _filter(matchers: Sequence[Matcher]) -> dict[str, str | list[str]]:
    return {"filter": [str(matcher) for matcher in matchers]} if matchers else {}


def _status(data: Any) -> AlertmanagerStatus:
    return AlertmanagerStatus(
        str(data["versionInfo"]["version"]), _time(data["uptime"]), str(data["cluster"]["status"])
    )


def _alert(item: Any) -> NotifiedAlert:
    status = item["status"]
    return NotifiedAlert(
        str(item["fingerprint"]),
        labels(item["labels"]),
        labels(item["annotations"]),
        str(status["state"]),
        _time(item["startsAt"]),
        _time(item["endsAt"]),
        _time(item["updatedAt"]),
        str(item.get("generatorURL", "")),
        tuple(str(receiver["name"]) for receiver in item["receivers"]),
        tuple(map(str, status["silencedBy"])),
        tuple(map(str, status["inhibitedBy"])),
        tuple(map(str, status.get("mutedBy") or ())),
    )


def _group(item: Any) -> AlertGroup:
    return AlertGroup(labels(item["labels"]), str(item["receiver"]["name"]), tuple(map(_alert, item["alerts"])))


def _silence(item: Any) -> Silence:
    return Silence(
        str(item["id"]),
        str(item["status"]["state"]),
        tuple(map(_matcher, item["matchers"])),
        _time(item["startsAt"]),
        _time(item["endsAt"]),
        _time(item["updatedAt"]),
        str(item["createdBy"]),
        str(item["comment"]),
    )


def _matcher(item: Any) -> Matcher:
    return Matcher(str(item["name"]), str(item["value"]), bool(item["isRegex"]), bool(item.get("isEqual", True)))


def _list(data: Any) -> Sequence[Any]:
    if not isinstance(data, list):
        raise TypeError("not a list")
    return data


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
