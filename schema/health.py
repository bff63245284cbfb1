"""How well the server and what it depends on serve."""

import strawberry

from domain import health
from domain.health import CircuitState, HealthStatus
from schema.scalars import DateTime


@strawberry.type(description="How something that the server depends on answers.")
class ComponentHealth:
    """How something that the server depends on answers."""

    name: str = strawberry.field(description="What it is.")
    status: HealthStatus = strawberry.field(description="How well it serves.")
    message: str | None = strawberry.field(description="What is wrong, if anything is.")
    version: str | None = strawberry.field(description="Its version, where it says so.")
    latency_seconds: float | None = strawberry.field(description="How long its answer took.")
    checked_at: DateTime = strawberry.field(description="When it was asked.")
    circuit_breaker: CircuitState | None = strawberry.field(
        description="Whether calls to it pass; null where no circuit breaker decides that."
    )


@strawberry.type(description="How well the server serves: as well as the worst of what it depends on lets it.")
class SystemHealth:
    """How well the server serves."""

    status: HealthStatus = strawberry.field(description="All in all.")
    components: list[ComponentHealth] = strawberry.field(description="What it depends on.")


def system_health(report: health.SystemHealth) -> SystemHealth:
    """A report as clients see it."""
    return SystemHealth(
        status=report.status,
        components=[
            ComponentHealth(
                name=component.name,
                status=component.status,
                message=component.message,
                version=component.version,
                latency_seconds=component.latency_seconds,
                checked_at=DateTime(component.checked_at),
                circuit_breaker=component.circuit_state,
            )
            for component in report.components
        ],
    )
