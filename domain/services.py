"""The catalog: things that are run and can hurt."""

from enum import StrEnum


class ServiceStatus(StrEnum):
    """What open alerts and incidents say about a service."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"


class DependencySource(StrEnum):
    """How a dependency between services is known."""

    DECLARED = "DECLARED"
    TRACES = "TRACES"


class DeploymentOutcome(StrEnum):
    """How a deployment ended, so far."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
