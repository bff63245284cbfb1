"""The service graph: who calls whom, from traces, and from several sources together."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.service_graph import ServiceCall
from domain.traces import SpanKind, seconds
from engines.traces import SpanNode, TraceTree

_OUTGOING: Final = (SpanKind.CLIENT, SpanKind.PRODUCER)
_PEER: Final = "peer.service"


@dataclass(slots=True)
class _Seen:
    latencies_seconds: list[float] = field(default_factory=list)
    failed: int = 0


def calls_of_traces(trees: Iterable[TraceTree], *, window_seconds: float | None) -> list[ServiceCall]:
    """The calls between services in some traces, in the order of their names.

    A call is a span whose parent is of another service, and it failed when either did, the parent only where it stands
    for the call (as OpenTelemetry's service graph counts). A span that calls something without spans of its own is a
    call to the `peer.service` that it names. Rates are known where the traces are all of a time of `window_seconds`.
    """
    seen: dict[tuple[str, str], _Seen] = {}
    for tree in trees:
        for node in tree.nodes:
            for callee, duration_ns, is_error in _calls_of(node, tree.nodes):
                if callee != node.span.service:
                    call = seen.setdefault((node.span.service, callee), _Seen())
                    call.latencies_seconds.append(seconds(duration_ns))
                    call.failed += is_error
    return [
        ServiceCall(
            caller,
            callee,
            len(call.latencies_seconds) / window_seconds if window_seconds else None,
            call.failed / len(call.latencies_seconds),
            _percentile(call.latencies_seconds, 0.95),
        )
        for (caller, callee), call in sorted(seen.items())
    ]


def merged_calls(calls: Iterable[ServiceCall]) -> list[ServiceCall]:
    """Calls that several sources saw, each pair once: rates added, failures by their rates, the highest latency."""
    by_pair: dict[tuple[str, str], list[ServiceCall]] = {}
    for call in calls:
        by_pair.setdefault((call.caller, call.callee), []).append(call)
    return [
        same[0] if len(same) == 1 else _merged(caller, callee, same)
        for (caller, callee), same in sorted(by_pair.items())
    ]


def _calls_of(node: SpanNode, nodes: Sequence[SpanNode]) -> Iterable[tuple[str, int, bool]]:
    """Callee, duration in nanoseconds and whether it failed of each call that a span makes."""
    is_outgoing = node.span.kind in _OUTGOING
    answered = False
    for position in node.children:
        child = nodes[position].span
        if child.service != node.span.service:
            answered = True
            yield child.service, child.duration_ns, child.is_error or (is_outgoing and node.span.is_error)
    peer = node.span.attributes.get(_PEER)
    if is_outgoing and not answered and not node.children and isinstance(peer, str) and peer:
        yield peer, node.span.duration_ns, node.span.is_error


def _merged(caller: str, callee: str, calls: Sequence[ServiceCall]) -> ServiceCall:
    rates = [call.request_rate for call in calls if call.request_rate is not None]
    latencies = [call.latency_p95_seconds for call in calls if call.latency_p95_seconds is not None]
    ratios = [(call.error_ratio, call.request_rate or 0.0) for call in calls if call.error_ratio is not None]
    return ServiceCall(
        caller,
        callee,
        math.fsum(rates) if rates else None,
        _weighted(ratios),
        max(latencies, default=None),
    )


def _weighted(ratios: Sequence[tuple[float, float]]) -> float | None:
    """The mean of ratios by their weights; where none weighs anything, that of all."""
    if not ratios:
        return None
    weight = math.fsum(weight for _, weight in ratios)
    if weight == 0:
        return math.fsum(ratio for ratio, _ in ratios) / len(ratios)
    return min(1.0, math.fsum(ratio * weight for ratio, weight in ratios) / weight)


def _percentile(values: Sequence[float], quantile: float) -> float:
    """The smallest value that is not exceeded by more than the rest (nearest rank)."""
    return sorted(values)[math.ceil(quantile * len(values)) - 1]
