"""The catalog: things that are run and can hurt."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from string import Template
from typing import Final

import promql_parser

from domain.errors import ValidationFailed
from domain.incidents import ImpactLevel, Severity
from domain.json_values import JSON, labels
from domain.limits import LABEL_VALUE_CHARACTERS
from domain.moments import past_moment
from domain.references import parse_id
from domain.telemetry import INSTANCE_NAME, GoldenSignal
from domain.text import line, name


class ServiceStatus(StrEnum):
    """What open alerts and incidents say about a service."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"


class DependencySource(StrEnum):
    """How a dependency between services is known."""

    DECLARED = "DECLARED"
    TRACES = "TRACES"


class DeploymentOutcome(StrEnum):
    """How a deployment ended, so far."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


# A deployment this long before an incident is not shown on its timeline by itself.
DEPLOYMENT_RELEVANCE: Final = timedelta(days=1)
_QUERY_CHARACTERS: Final = 4000
TELEMETRY_BACKENDS: Final = ("prometheus", "loki", "tempo", "alertmanager")
SELECTOR_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class ActiveImpact:
    """How one incident that is neither mitigated nor resolved hurts a service."""

    level: ImpactLevel
    severity: Severity


def status_under(current: ServiceStatus, active: Iterable[ActiveImpact], *, was_hurt: bool) -> ServiceStatus:
    """What incidents say about a service now. `was_hurt`: an incident hurt it that does no more.

    DOWN under a critical incident that hurts it first-hand, DEGRADED under any other that hurts it (a suspicion does
    not count), HEALTHY when none does any more, and as before when none ever did.
    """
    hurting = [impact for impact in active if impact.level is not ImpactLevel.SUSPECTED]
    if any(impact.level is ImpactLevel.PRIMARY and impact.severity is Severity.CRITICAL for impact in hurting):
        return ServiceStatus.DOWN
    if hurting:
        return ServiceStatus.DEGRADED
    if was_hurt or current in (ServiceStatus.DOWN, ServiceStatus.DEGRADED):
        return ServiceStatus.HEALTHY
    return current


def service_name(value: object, *path: str) -> str:
    """The name of a service: any printable line that cannot be mistaken for an id. Raises ValidationFailed."""
    text = name(value, "Name", *path)
    if parse_id(text) is not None:
        raise ValidationFailed("Name must not look like an id", path)
    return text


def tier(value: object, *path: str) -> int | None:
    """How much depends on a service, from 1 (everything) to 5, or nothing. Raises ValidationFailed."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 5:
        raise ValidationFailed("Tier must be a number from 1 to 5", path)
    return value


def selectors(value: object, *path: str) -> dict[str, JSON]:
    """How telemetry backends name a service: `{"prometheus": {label: value}, "loki": {label: value},
    "tempo": service.name, "signals": {golden signal: PromQL}}`, each of them optional; nothing is the empty object.
    Raises ValidationFailed.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationFailed("Selectors must be an object", path)
    kept: dict[str, JSON] = {}
    for backend, selector in value.items():
        match backend:
            case _ if selector is None:
                continue
            case "prometheus" | "loki":
                kept[backend] = _label_matchers(selector, *path, backend)
            case "tempo":
                kept[backend] = line(selector, "Tempo selector", *path, backend, limit=LABEL_VALUE_CHARACTERS)
            case "signals":
                kept[backend] = _signals(selector, *path, backend)
            case _:
                raise ValidationFailed(
                    f"Selectors are for prometheus, loki, tempo and signals, not for {backend!r:.100}", path
                )
    return kept


def telemetry_instances(value: object, *path: str) -> dict[str, JSON]:
    """Which instance of each backend knows a service: `{"prometheus": "eu"}`. A backend that is left out is asked at
    its default instance; nothing is the empty object. Raises ValidationFailed.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationFailed("Telemetry instances must be an object", path)
    kept: dict[str, JSON] = {}
    for backend, instance in value.items():
        if backend not in TELEMETRY_BACKENDS:
            allowed = ", ".join(TELEMETRY_BACKENDS)
            raise ValidationFailed(f"Telemetry instances are for {allowed}, not for {backend!r:.100}", path)
        if instance is None:
            continue
        if not isinstance(instance, str) or not INSTANCE_NAME.fullmatch(instance):
            raise ValidationFailed(
                "The name of an instance is up to 63 small letters, digits, - and _", (*path, backend)
            )
        kept[backend] = instance
    return kept


def _label_matchers(value: object, *path: str) -> dict[str, JSON]:
    matchers = labels(value, "Selector", *path)
    for label in matchers:
        if not SELECTOR_LABEL.fullmatch(label):
            raise ValidationFailed(f'"{label}" is not a label name: letters, digits and _ only', path)
    return {**matchers}


def _signals(value: object, *path: str) -> dict[str, JSON]:
    """PromQL for golden signals, with `$selector` and `$window`. Raises ValidationFailed."""
    if not isinstance(value, Mapping):
        raise ValidationFailed("Signals must be an object of PromQL by golden signal", path)
    for signal, query in value.items():
        if signal not in GoldenSignal.__members__:
            raise ValidationFailed(f"{signal!r:.100} is none of {', '.join(GoldenSignal)}", path)
        if not isinstance(query, str) or len(query) > _QUERY_CHARACTERS:
            raise ValidationFailed(f"PromQL must be a text of at most {_QUERY_CHARACTERS} characters", (*path, signal))
        template = Template(query)
        if not template.is_valid() or not {"selector"} <= {*template.get_identifiers()} <= {"selector", "window"}:
            raise ValidationFailed(
                "PromQL must hold $selector, may hold $window, and writes $$ for a dollar sign", (*path, signal)
            )
        try:
            promql_parser.parse(template.substitute(selector='service="a"', window="5m"))
        except ValueError as error:
            raise ValidationFailed(f"PromQL cannot be read: {error}", (*path, signal)) from error
    return {**value}


def deployment_times(
    outcome: DeploymentOutcome, *, started_at: datetime | None, finished_at: datetime | None, now: datetime
) -> tuple[datetime, datetime | None]:
    """When a deployment started and finished: now, unless somebody knows better. Raises ValidationFailed."""
    finish = None if finished_at is None else past_moment(finished_at, "Finished at", "finishedAt", now=now)
    start = finish or now if started_at is None else past_moment(started_at, "Started at", "startedAt", now=now)
    if finish is not None and outcome is DeploymentOutcome.IN_PROGRESS:
        raise ValidationFailed("Finished at cannot be given while the deployment is in progress", ("finishedAt",))
    if finish is not None and finish < start:
        raise ValidationFailed("Finished at lies before the deployment started", ("finishedAt",))
    if finish is None and outcome is not DeploymentOutcome.IN_PROGRESS:
        finish = max(now, start)
    return start, finish
