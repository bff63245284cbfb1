"""Rules as Prometheus tells of them, without the client that reads them in production."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engines.slo.adoption.rules import RunningRule


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
