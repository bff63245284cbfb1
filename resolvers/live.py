"""Subscriptions to what another backend tells as it happens. They cannot be resumed: what was missed is not kept."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson

from domain.time import Deadline
from feed.standing import Standing
from feed.stream import patiently
from resolvers.compile.sources import Live
from resolvers.context import RequestContext, Running
from resolvers.execution import answer_to_event

_RENDER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a backend tells: an object of the subscription's type, and how many before it were left out."""

    value: Any
    missed: int = 0


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """Something to send, which no cursor leads back to."""

    body: bytes
    cursor: None = None


async def live_frames(
    source: Live,
    name: str,
    running: Running,
    arguments: Mapping[str, Any],
    context: RequestContext,
    standing: Standing,
) -> AsyncGenerator[LiveFrame]:
    """The answers to a live subscription's field, as JSON text. Raises what its source does, and what `standing` says
    before one of them.

    `extensions.missed` says how many things were left out before one, because they came faster than they were taken.
    """
    async with aclosing(source.tell(context, arguments)) as told:
        async for each in told:
            if (refusal := await patiently(standing.refusal)) is not None:
                raise refusal
            yield LiveFrame(await _answer(name, each, running, context))


async def _answer(name: str, told: Told, running: Running, context: RequestContext) -> bytes:
    context = replace(context, deadline=Deadline.after(_RENDER_SECONDS), running=running)
    body = await answer_to_event(name, told.value, running, context)
    if told.missed:
        body["extensions"] = {"missed": told.missed}
    return orjson.dumps(body)
