"""What Prometheus says of its rules (`/api/v1/rules`) and of a few series, in a shape to look things up in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RunningRule:
    """A rule that Prometheus runs. `name` is the recorded metric or the alert."""

    group: str
    name: str
    query: str
    is_alert: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunningSeries:
    """The newest value of a series, `__name__` among its labels."""

    labels: Mapping[str, str]
    value: float

    @property
    def name(self) -> str:
        """The metric."""
        return self.labels.get("__name__", "")


def running_rules(data: object) -> list[RunningRule]:
    """The rules in the `data` of an answer of `/api/v1/rules`. What has not its shape is passed over."""
    groups = data.get("groups") if isinstance(data, Mapping) else None
    return [rule for group in _objects(groups) for told in _objects(group.get("rules")) for rule in _rule(group, told)]


def _rule(group: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[RunningRule]:
    name, query, kind = told.get("name"), told.get("query"), told.get("type")
    if isinstance(name, str) and isinstance(query, str) and kind in ("recording", "alerting"):
        yield RunningRule(
            str(group.get("name", "")),
            name,
            query,
            kind == "alerting",
            _texts(told.get("labels")),
            _texts(told.get("annotations")),
        )


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}
