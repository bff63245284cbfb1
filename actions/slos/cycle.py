"""What one evaluation of all objectives did."""

from dataclasses import dataclass, field

from actions.slos.states import Evaluated


@dataclass(slots=True)
class Cycle:
    """Objectives that moved on, queries, objectives whose own query fails, and how late the latest of all is."""

    evaluated: int = 0
    queries: int = 0
    quarantined: int = 0
    lag_seconds: float = 0.0
    duration_seconds: float = 0.0
    away: dict[str | None, str] = field(default_factory=dict)
    """Why which Prometheus could not be asked."""
    found: list[Evaluated] = field(default_factory=list)

    @property
    def failure(self) -> str | None:
        """Why a Prometheus could not be asked, where one could not."""
        return next(iter(self.away.values()), None)
