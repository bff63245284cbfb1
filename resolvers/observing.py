"""Who wants to know what becomes of operations: metrics, which live further up."""

from contextlib import AbstractContextManager
from enum import StrEnum
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self

from domain import tracing


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


class Observed:
    """One operation, from its document to its end: a block, after which an observer is told. `outcome` is up to it."""

    __slots__ = ("_began_seconds", "_kind", "_name", "_observer", "outcome")

    def __init__(self, observer: Observer) -> None:
        self.outcome = Outcome.REFUSED  # Until it is known what is to be executed.
        self._observer = observer
        self._name: str | None = None
        self._kind: str | None = None
        self._began_seconds = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = perf_counter() - self._began_seconds
        self._observer.operation_ended(self._name, self._kind, self.outcome, seconds)

    def executing(
        self, name: str | None, kind: str, *, what: str = "graphql.execute"
    ) -> AbstractContextManager[tracing.Span | None]:
        """A block that executes it, a part of the trace that is recorded, if one is."""
        self._name, self._kind, self.outcome = name, kind, Outcome.FAILED
        request = tracing.recording()
        if request is None:
            return tracing.NOTHING
        about = {"graphql.operation.type": kind, **({"graphql.operation.name": name} if name else {})}
        request.attributes = {**request.attributes, **about}
        return tracing.span(what, attributes=about)
