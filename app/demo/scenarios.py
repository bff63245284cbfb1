"""The kinds of incidents that the shop has had, as written in data/history."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from domain.incidents import Severity
from domain.timeline import TimelineEventType

_OBSERVATIONS = {
    "metric": TimelineEventType.METRIC_ANOMALY,
    "log": TimelineEventType.LOG_ANOMALY,
    "trace": TimelineEventType.TRACE_ANOMALY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """An incident with blanks: its texts hold {percent}, {region} and the like, filled anew each time it happens.

    `observed` holds what the telemetry showed; `steps` what was looked at and what was found. `alert` None: people
    noticed it. `suspicion` is a cause that it turned out not to be.
    """

    service: str
    hurts: tuple[str, ...] = ()
    suspected: tuple[str, ...] = ()
    severity: tuple[Severity, ...]
    titles: tuple[str, ...]
    description: str
    observed: tuple[tuple[TimelineEventType, str], ...]
    notes: tuple[str, ...]
    suspicion: str | None = None
    hypothesis: str | None = None
    steps: tuple[tuple[str, str], ...] = ()
    mitigation: str
    cause: str
    resolution: str
    tasks: tuple[str, ...]
    alert: str | None = None
    bad_deployment: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """A scenario as a table of TOML has it."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        values["severity"] = tuple(Severity(severity) for severity in given["severity"])
        values["observed"] = tuple(_observation(line) for line in given["observed"])
        values["steps"] = tuple(_step(line) for line in given.get("steps", ()))
        return cls(**values)


def scenarios() -> list[Scenario]:
    """All of them, in one order everywhere."""
    documents = sorted(files("app.demo").joinpath("data", "history").iterdir(), key=lambda file: file.name)
    tables = (tomllib.loads(document.read_text(encoding="utf-8")) for document in documents)
    return [Scenario.parse(scenario) for table in tables for scenario in table["scenarios"]]


def _observation(line: str) -> tuple[TimelineEventType, str]:
    kind, _, text = line.partition(": ")
    return _OBSERVATIONS[kind], text


def _step(line: str) -> tuple[str, str]:
    title, _, finding = line.partition(" | ")
    return title, finding
