"""How well we and what we depend on serve."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HealthStatus(StrEnum):
    """How well something serves."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"


class CircuitState(StrEnum):
    """Whether a circuit breaker lets calls pass: all of them, one to try, or none."""

    CLOSED = "CLOSED"
    HALF_OPEN = "HALF_OPEN"
    OPEN = "OPEN"


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """What became of asking one dependency. `message` says what is wrong, in words for everybody."""

    name: str
    status: HealthStatus
    message: str | None
    version: str | None
    latency_seconds: float
    checked_at: datetime
    error: Exception | None = None
    """For the operator: its `__cause__` may name hosts."""
    circuit_state: CircuitState | None = None
    """Whether calls to it pass, where a circuit breaker decides that."""


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """The health of the whole: that of its worst component."""

    status: HealthStatus
    components: tuple[ComponentHealth, ...]
