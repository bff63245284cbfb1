"""An observer that remembers what it was told."""

from dataclasses import dataclass, field
from typing import Any

from domain.health import CircuitState


@dataclass
class RecordingObserver:
    """`outcomes` of the calls that ended, `circuit` with each new state, and how often anything was told."""

    outcomes: list[str] = field(default_factory=list)
    circuit: list[CircuitState] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def count(self, event: str) -> int:
        return self.told.count(event)

    def opened(self, *_: Any) -> None:
        self.told.append("opened")

    def call_started(self, *_: Any) -> None:
        self.told.append("started")

    def call_ended(self, _backend: str, _instance: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.told.append("ended")
        self.outcomes.append(outcome)

    def call_retried(self, *_: Any) -> None:
        self.told.append("retried")

    def call_coalesced(self, *_: Any) -> None:
        self.told.append("coalesced")

    def cache_answered(self, *_: Any) -> None:
        self.told.append("cached")

    def circuit_changed(self, _backend: str, _instance: str, state: CircuitState, _reason: str) -> None:
        self.circuit.append(state)

    def warned(self, _backend: str, _instance: str, message: str) -> None:
        self.warnings.append(message)
