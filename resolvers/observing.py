"""Who wants to know what becomes of operations: metrics, which live further up."""

from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """How an operation ended."""

    OK = "ok"
    ERRORS = "errors"
    REFUSED = "refused"
    FAILED = "failed"


class Observer(Protocol):
    """Told of every operation. Must be quick, and never raise."""

    def operation_ended(self, name: str | None, kind: str | None, outcome: Outcome, seconds: float) -> None:
        """An operation is over. Its kind is None where its document is wrong."""
        ...


class Nobody(Observer):
    """An observer that does not care."""

    def operation_ended(self, name: str | None, kind: str | None, outcome: Outcome, seconds: float) -> None: ...
