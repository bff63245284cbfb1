"""Answers in parts: what is there at once, and what `@defer` lets come later.

Clients know two forms. `ids` is that of the specification's draft: parts that are pending have an id, which what comes
later refers to (`incrementalSpec=v0.2`). `paths` is that of 2022, which Apollo asks for (`deferSpec=20220824`): each
later part says where in the answer it belongs.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from enum import StrEnum
from typing import Any, NamedTuple, Self

import orjson
from graphql import (
    ExperimentalIncrementalExecutionResults,
    GraphQLError,
    IncrementalDeferResult,
    SubsequentIncrementalExecutionResult,
)
from graphql.execution import CompletedResult, PendingResult

from domain.errors import DeadlineExceeded
from resolvers.context import RequestContext
from resolvers.errors import field_error, warnings
from resolvers.observing import Outcome


class IncrementalForm(StrEnum):
    """How the parts of an answer name what they belong to."""

    IDS = "ids"
    PATHS = "paths"


class Part(NamedTuple):
    """A JSON object of the answer."""

    body: bytes
    is_last: bool


class IncrementalAnswer:
    """An answer in several JSON objects, each with `hasNext`. Close it when done, whether or not all was taken."""

    def __init__(
        self,
        results: ExperimentalIncrementalExecutionResults,
        context: RequestContext,
        form: IncrementalForm,
        operation: str,
        resources: AsyncExitStack,
        *,
        cost: Mapping[str, Any] | None = None,
    ) -> None:
        """`cost` is told with the first part."""
        self.operation = operation
        self.outcome = Outcome.OK
        """How it began: what becomes of later parts, they say themselves."""
        self.form = form
        self._results = results
        self._context = context
        self._resources = resources
        self._cost = cost
        self._pending: dict[str, PendingResult] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Both are right where nothing was taken: a generator that never ran has nothing to clean up by itself.
        async with self._resources:
            await self._results.subsequent_results.aclose()

    def remaining_seconds(self) -> float:
        """How long the parts may still take."""
        return self._context.deadline.remaining_seconds()

    async def parts(self) -> AsyncGenerator[Part]:
        """The parts, the first of which is there at once. What misses the deadline says so in the last one."""
        yield self._first()
        async with aclosing(self._results.subsequent_results) as results:
            while True:
                try:
                    async with asyncio.timeout(self.remaining_seconds()):
                        result = await anext(results, None)
                except TimeoutError:
                    yield self._late()
                    return
                if result is None:
                    return
                yield self._later(result)

    def _first(self) -> Part:
        initial = self._results.initial_result
        part: dict[str, Any] = {"data": initial.data}
        if initial.errors:
            part = {"errors": self._entries(initial.errors), **part}
        self._announce(initial.pending, part)
        if self._cost is not None:
            part["extensions"] = {"cost": self._cost}
        return _part(part, has_next=initial.has_next)

    def _later(self, result: SubsequentIncrementalExecutionResult) -> Part:
        part: dict[str, Any] = {}
        self._announce(result.pending or (), part)
        deferred = [each for each in result.incremental or () if isinstance(each, IncrementalDeferResult)]
        if self.form is IncrementalForm.IDS:
            if deferred:
                part["incremental"] = [self._by_id(each) for each in deferred]
            if result.completed:
                part["completed"] = [self._completed(each) for each in result.completed]
        else:
            failed = [self._by_path(each.id, None, each.errors) for each in result.completed or () if each.errors]
            came = [self._by_path(each.id, each.data, each.errors, each.sub_path or ()) for each in deferred]
            if came or failed:
                part["incremental"] = came + failed
        for completed in result.completed or ():
            self._pending.pop(completed.id, None)
        if not result.has_next and self._context.remarks:
            part["extensions"] = {"warnings": warnings(self._context.remarks)}
        return _part(part, has_next=result.has_next)

    def _late(self) -> Part:
        """The last part, where what is pending takes longer than allowed."""
        return self._later(
            SubsequentIncrementalExecutionResult(
                completed=[
                    CompletedResult(id, [GraphQLError("", path=at.path, original_error=DeadlineExceeded())])
                    for id, at in self._pending.items()
                ]
            )
        )

    def _announce(self, pending: Iterable[PendingResult], part: dict[str, Any]) -> None:
        self._pending.update((each.id, each) for each in pending)
        if self.form is IncrementalForm.IDS and (formatted := [each.formatted for each in pending]):
            part["pending"] = formatted

    def _by_id(self, deferred: IncrementalDeferResult) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": deferred.id}
        if deferred.sub_path:
            entry["subPath"] = deferred.sub_path
        entry["data"] = deferred.data
        if deferred.errors:
            entry["errors"] = self._entries(deferred.errors)
        return entry

    def _by_path(
        self, id: str, data: Any, errors: Iterable[GraphQLError] | None, below: Iterable[str | int] = ()
    ) -> dict[str, Any]:
        pending = self._pending[id]
        entry: dict[str, Any] = {"data": data, "path": [*pending.path, *below]}
        if pending.label is not None:
            entry["label"] = pending.label
        if errors:
            entry["errors"] = self._entries(errors)
        return entry

    def _completed(self, completed: CompletedResult) -> dict[str, Any]:
        if not completed.errors:
            return {"id": completed.id}
        return {"id": completed.id, "errors": self._entries(completed.errors)}

    def _entries(self, errors: Iterable[GraphQLError]) -> list[dict[str, Any]]:
        return [field_error(error, self._context.request_id) for error in errors]


def _part(members: Mapping[str, Any], *, has_next: bool) -> Part:
    return Part(orjson.dumps({**members, "hasNext": has_next}), not has_next)
