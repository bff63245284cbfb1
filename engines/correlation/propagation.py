"""How symptoms travel: from the service where it began to those that call it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from engines.correlation.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Graph:
    """Which services call which, in both directions, by every source that says so."""

    callees: Mapping[str, frozenset[str]] = field(default_factory=dict)
    callers: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def reached_by(self, service: str) -> Mapping[str, int]:
        """The services that call one, directly or through others, and in how many steps; itself in none."""
        return _distances(service, self.callers)

    def reached_from(self, service: str) -> Mapping[str, int]:
        """The services that one calls, directly or through others, and in how many steps; itself in none."""
        return _distances(service, self.callees)


def graph_of(evidence: Evidence) -> Graph:
    """The graph of what was declared or discovered, and of what the traces show."""
    edges = {(call.caller, call.callee) for call in evidence.calls}
    if evidence.traces is not None:
        edges |= {(entry.caller, entry.service) for entry in evidence.traces.entries if entry.caller is not None}
    return graph(edges)


def graph(edges: Iterable[tuple[str, str]]) -> Graph:
    """The graph of pairs of caller and callee; a service that calls itself is no edge."""
    callees: dict[str, set[str]] = defaultdict(set)
    callers: dict[str, set[str]] = defaultdict(set)
    for caller, callee in edges:
        if caller != callee:
            callees[caller].add(callee)
            callers[callee].add(caller)
    return Graph(_frozen(callees), _frozen(callers))


def _frozen(sets: Mapping[str, Set[str]]) -> dict[str, frozenset[str]]:
    return {service: frozenset(others) for service, others in sets.items()}


def _distances(start: str, neighbours: Mapping[str, frozenset[str]]) -> dict[str, int]:
    distances = {start: 0}
    border = [start]
    while border:
        reached = sorted({other for service in border for other in neighbours.get(service, ())} - distances.keys())
        distances |= dict.fromkeys(reached, distances[border[0]] + 1)
        border = reached
    return distances
