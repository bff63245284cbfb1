"""PromQL for a golden signal of many services at once, wherever each of them has it."""

from collections.abc import Mapping

from domain.telemetry import GoldenSignal
from telemetry_clients.prometheus.discovery import Place
from telemetry_clients.prometheus.golden_signals import Selector, Sources, expression
from telemetry_clients.services import Service


def joined(signal: GoldenSignal, found: Mapping[Service, Place], *, window_seconds: float) -> str:
    """One query for all services: those that are told apart by one label of the same metric share a part of it."""
    shared: dict[tuple[str, Sources], dict[str, None]] = {}
    parts = []
    for place in found.values():
        if len(place.labels) == 1:
            values = shared.setdefault((place.labels[0], place.sources), {})
            values.update(dict.fromkeys(value for (value,) in place.values))
        else:
            parts.append(alone(signal, place, window_seconds=window_seconds))
    parts += [_part(signal, {label: [*values]}, sources, window_seconds) for (label, sources), values in shared.items()]
    return "\nor\n".join(dict.fromkeys(parts))


def alone(signal: GoldenSignal, place: Place, *, window_seconds: float) -> str:
    """The query for one service alone: what somebody would ask who wanted the same."""
    selectors = (dict(zip(place.labels, ([value] for value in values), strict=True)) for values in place.values)
    return "\nor\n".join(_part(signal, selector, place.sources, window_seconds) for selector in selectors)


def _part(signal: GoldenSignal, selector: Selector, sources: Sources, window_seconds: float) -> str:
    return expression(signal, selector, window_seconds=window_seconds, sources=sources)
