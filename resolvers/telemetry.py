"""What all fields have in common that ask a telemetry backend. One that does not answer costs its own fields only."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from domain.time import Deadline
from resolvers.context import RequestContext
from telemetry_clients.errors import TelemetryError

PADDING = timedelta(minutes=30)
MARGIN_SECONDS = 0.5

Answer = TypeVar("Answer")


def incident_range(needs: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """The time of an incident with some before and after it, as far as it has passed."""
    start = datetime.fromisoformat(needs["started_at"])
    resolved_at = needs["resolved_at"]
    end = now if resolved_at is None else min(now, datetime.fromisoformat(resolved_at) + PADDING)
    return start - PADDING, max(end, start)


def backend_deadline(context: RequestContext) -> Deadline:
    """By when a backend has to answer. Too late for the rest of the query is worth nothing: a little earlier."""
    return Deadline.after(max(0.0, context.deadline.remaining_seconds() - MARGIN_SECONDS))


async def answers_of(asked: Iterable[Coroutine[Any, Any, Answer]]) -> tuple[list[Answer], tuple[TelemetryError, ...]]:
    """Every answer that there is, and why the others are missing, each reason once.

    Raises the first TelemetryError where there is no answer at all: what fails as a whole is an error, not a remark.
    """
    outcomes = await all_of(_outcome_of(question) for question in asked)
    answers = [outcome for outcome in outcomes if not isinstance(outcome, TelemetryError)]
    failures = {(f.code, f.message): f for f in outcomes if isinstance(f, TelemetryError)}
    if failures and not answers:
        raise next(iter(failures.values()))
    return answers, tuple(failures.values())


async def _outcome_of(question: Coroutine[Any, Any, Answer]) -> Answer | TelemetryError:
    try:
        return await question
    except TelemetryError as error:
        return error


async def all_of(asked: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Every answer, or the first failure, with nothing left running."""
    asked = [*asked]
    if len(asked) == 1:
        return [await asked[0]]
    tasks = [asyncio.create_task(question) for question in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
