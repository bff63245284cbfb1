"""How well we and what we depend on serve."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HealthStatus(StrEnum):
    """How well something serves."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"


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


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """The health of the whole: that of its worst component."""

    status: HealthStatus
    components: tuple[ComponentHealth, ...]
