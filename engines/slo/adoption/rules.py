"""What Prometheus says of its rules (`/api/v1/rules`) and of a few series, in a shape to look things up in."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunningRule:
    """A rule that Prometheus runs. `name` is the recorded metric or the alert."""

    group: str
    name: str
    query: str
    is_alert: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunningSeries:
    """The newest value of a series, `__name__` among its labels."""

    labels: Mapping[str, str]
    value: float

    @property
    def name(self) -> str:
        """The metric."""
        return self.labels.get("__name__", "")
