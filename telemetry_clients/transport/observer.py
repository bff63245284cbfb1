"""Who wants to know what becomes of calls: metrics and logs, which live further up."""

from typing import Protocol

from domain.health import CircuitState


class Observer(Protocol):
    """Told of everything that happens on the way to one instance of one backend. Must be quick, and never raise."""

    def opened(self, backend: str, instance: str) -> None:
        """There is a way to this instance."""

    def call_started(self, backend: str, instance: str) -> None:
        """A call is under way or waits for a connection."""

    def call_ended(self, backend: str, instance: str, outcome: str, seconds: float) -> None:
        """It took `seconds`, attempts and waiting included. `outcome`: OK, NOT_FOUND, CANCELLED or an error's code."""

    def call_retried(self, backend: str, instance: str) -> None:
        """An attempt failed, and another will be made."""

    def call_coalesced(self, backend: str, instance: str) -> None:
        """A caller gets the answer of another's call."""

    def cache_answered(self, backend: str, instance: str) -> None:
        """A caller got an answer that was kept."""

    def circuit_changed(self, backend: str, instance: str, state: CircuitState, reason: str) -> None:
        """The circuit breaker is in another state than before. `reason` holds no secret."""

    def warned(self, backend: str, instance: str, message: str) -> None:
        """Something about the configuration is dangerous."""


class Nobody(Observer):
    """An observer that does not care."""

    def opened(self, backend: str, instance: str) -> None: ...
    def call_started(self, backend: str, instance: str) -> None: ...
    def call_ended(self, backend: str, instance: str, outcome: str, seconds: float) -> None: ...
    def call_retried(self, backend: str, instance: str) -> None: ...
    def call_coalesced(self, backend: str, instance: str) -> None: ...
    def cache_answered(self, backend: str, instance: str) -> None: ...
    def circuit_changed(self, backend: str, instance: str, state: CircuitState, reason: str) -> None: ...
    def warned(self, backend: str, instance: str, message: str) -> None: ...
