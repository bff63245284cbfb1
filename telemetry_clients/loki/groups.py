"""Services whose lines can be asked for in one query, and which of them a line that comes back belongs to."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from telemetry_clients.loki import logql
from telemetry_clients.loki.selectors import Streams
from telemetry_clients.services import Service

MOST_TOGETHER: Final = 500

Group: TypeAlias = Mapping[Service, Streams]


def groups_of(streams: Group) -> list[Group]:
    """Services that are told apart by the values of one label are asked for together; any others by themselves."""
    groups: list[dict[Service, Streams]] = []
    by_label: dict[str, dict[Service, Streams]] = {}
    for service, each in streams.items():
        if len(each.values) != 1:
            groups.append({service: each})
            continue
        label = each.values[0][0]
        group = by_label.get(label)
        if group is None or len(group) >= MOST_TOGETHER:
            group = by_label[label] = {}
            groups.append(group)
        group[service] = each
    return [*groups]


def selector_of(streams: Iterable[Streams]) -> str:
    """The selector of several services' streams, in LogQL."""
    values: dict[str, set[str]] = {}
    for each in streams:
        for label, some in each.values:
            values.setdefault(label, set()).update(some)
    return logql.selector(values)


class Owners:
    """Which services of a group a stream belongs to, by its labels."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._label = next(iter(group.values())).values[0][0]
        self._by_value: dict[str, list[Service]] = {}
        for service, streams in group.items():
            for value in dict(streams.values)[self._label]:
                self._by_value.setdefault(value, []).append(service)

    def of(self, labels: Mapping[str, str]) -> list[Service]:
        """The services of a stream with these labels."""
        candidates = self._by_value.get(labels.get(self._label, ""), [])
        return [service for service in candidates if self._group[service].holds(labels)]
