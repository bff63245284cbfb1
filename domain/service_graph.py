"""Which services call which, as traces show it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One service calls another, both by the `service.name` of their spans.

    Requests per second, the share of them that failed (0..1), and the 95th percentile of the callee's latency in
    seconds; None where it is not known.
    """

    caller: str
    callee: str
    request_rate: float | None = None
    error_ratio: float | None = None
    latency_p95_seconds: float | None = None
