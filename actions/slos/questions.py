"""Asking Prometheus for the events of many objectives, so that a bad query among them costs only itself."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from domain.errors import ValidationFailed
from domain.time import Deadline
from engines.slo.batches import MOST_OBJECTIVES, Counted, Question, Sample, answers, batches, query
from engines.slo.recorded import Selection, selected_answers, selections
from telemetry_clients.errors import TelemetryBadQuery, TelemetryError, TelemetryLimited, TelemetryTimeout
from telemetry_clients.prometheus import Prometheus, QueryResult

MOST_POINTS: Final = 10_000
"""Of one series in one range query; Prometheus allows 11 000."""
AT_ONCE: Final = 4
"""Queries under way at the same time: Prometheus serves others too."""


@dataclass(frozen=True, slots=True)
class Moments:
    """At which times the events of the slice before are asked for: `start`, one `step_seconds` later, until `end`."""

    start: datetime
    end: datetime
    step_seconds: int

    @property
    def is_one(self) -> bool:
        """Whether it is a single time."""
        return self.start == self.end


def moments_of(start: int, end: int, seconds: int) -> Iterator[Moments]:
    """When to ask for all slices of a length from `start` until `end` (seconds since 1970), many at once."""
    for first in range(start, end, MOST_POINTS * seconds):
        last = min(end, first + MOST_POINTS * seconds)
        yield Moments(datetime.fromtimestamp(first + seconds, UTC), datetime.fromtimestamp(last, UTC), seconds)


@dataclass(slots=True)
class Answers:
    """What came of each question, by its number: events, or why there are none. `queries` counts what that took."""

    counted: dict[int, Counted] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    queries: int = 0


async def ask(
    prometheus: Prometheus,
    questions: Sequence[Question],
    moments: Moments,
    *,
    timeout_seconds: float,
    deadline: Deadline,
    size: int = MOST_OBJECTIVES,
) -> Answers:
    """Ask all questions, up to `size` in a query, each query for at most `timeout_seconds`.

    A query that Prometheus refuses, or does not finish, is asked again in halves, until the question that is to blame
    is alone; its failure is part of the answer. Raises TelemetryError when Prometheus cannot be asked at all.
    """
    asking = _Asking(prometheus, moments, timeout_seconds, deadline)
    selected, others = selections(questions) if moments.is_one else ([], questions)
    tasks = [asyncio.create_task(asking.select(selection)) for selection in selected]
    tasks += [asyncio.create_task(asking.ask(batch)) for batch in batches(others, size)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return asking.found


class _Asking:
    def __init__(self, prometheus: Prometheus, moments: Moments, timeout_seconds: float, deadline: Deadline) -> None:
        self._prometheus = prometheus
        self._moments = moments
        self._timeout_seconds = timeout_seconds
        self._deadline = deadline
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.found = Answers()

    async def ask(self, batch: Sequence[Question]) -> None:
        """Ask some questions together, or in halves where that fails."""
        result = await self._attempt(query(batch))
        if not isinstance(result, TelemetryError):
            self._keep(answers(batch, _samples(result)))
            return
        if len(batch) == 1:
            self.found.failed[batch[0].number] = result.message
            return
        half = len(batch) // 2
        await self.ask(batch[:half])
        await self.ask(batch[half:])

    async def select(self, selection: Selection) -> None:
        """Read recorded series with one selector; one after the other where that fails."""
        result = await self._attempt(selection.expression)
        if isinstance(result, TelemetryError):
            await self.ask([question for question, _ in selection.questions])
        else:
            self._keep(selected_answers(selection, _samples(result)))

    async def _attempt(self, expression: str) -> QueryResult | TelemetryError:
        """Ask once. The error that may be the fault of a single question is returned, any other raised."""
        async with self._turns:
            self.found.queries += 1
            try:
                return await self._evaluate(expression)
            except (TelemetryBadQuery, TelemetryLimited) as error:
                return error
            except TelemetryTimeout as error:
                if self._deadline.expired:
                    raise
                return error

    def _keep(self, found: Mapping[int, Counted | ValidationFailed]) -> None:
        for number, answer in found.items():
            if isinstance(answer, ValidationFailed):
                self.found.failed[number] = answer.message
            else:
                self.found.counted[number] = answer

    async def _evaluate(self, expression: str) -> QueryResult:
        allowed = Deadline.after(min(self._timeout_seconds, self._deadline.remaining_seconds()))
        moments = self._moments
        if moments.is_one:
            return await self._prometheus.query(expression, at=moments.end, deadline=allowed)
        return await self._prometheus.query_range(
            expression, start=moments.start, end=moments.end, step_seconds=moments.step_seconds, deadline=allowed
        )


def _samples(result: QueryResult) -> Iterable[Sample]:
    for series in result.series:
        yield series.labels, [(point.time.timestamp(), point.value) for point in series.points]
