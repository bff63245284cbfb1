"""Writes that clients ask for: from the arguments of a mutation to what came of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from uuid import UUID

from strawberry import UNSET

from db.database import Transaction
from domain.access import Actor
from domain.errors import (
    Conflict,
    DatabaseUnavailable,
    DeadlineExceeded,
    Forbidden,
    IdempotencyKeyReused,
    NotFound,
    ValidationFailed,
)
from feed.cursor import Cursor, encode
from resolvers.context import RequestContext

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
ActionInput = TypeVar("ActionInput", bound="DataclassInstance")

Work: TypeAlias = Callable[[Transaction, Actor], Awaitable[UUID]]
First: TypeAlias = Callable[[], Awaitable[None]]
Refusal: TypeAlias = ValidationFailed | NotFound | Conflict | IdempotencyKeyReused | Forbidden

_CURSOR_SECONDS: Final = 2.0
REFUSALS: Final = (ValidationFailed, NotFound, Conflict, IdempotencyKeyReused, Forbidden)


@dataclass(frozen=True, slots=True)
class Written:
    """What a write was done to, and where the last event about it stood in the outbox, if there was one."""

    id: UUID
    event_seq: int | None


async def write(context: RequestContext, work: Work, first: First | None = None) -> Written | Refusal:
    """Do some work in one transaction: what it was done to, or why nothing was written.

    `first` is what has to ask others before, while no transaction waits for them; what it refuses is refused.
    Raises DatabaseUnavailable, DeadlineExceeded, and whatever nobody expected.
    """
    actor = context.actor
    try:
        if first is not None:
            await first()
        return await context.database.transact(lambda tx: _written(tx, work, actor), now=context.now)
    except REFUSALS as refusal:
        return refusal


async def cursor_after(context: RequestContext, event_seq: int | None) -> str | None:
    """The cursor of an event of the outbox, as soon as it is in the log; None when that takes too long."""
    event_log = context.event_log
    if event_log is None or event_seq is None:
        return None
    try:
        async with asyncio.timeout(_CURSOR_SECONDS):
            return encode(Cursor(await event_log.started(), await event_log.position_of(event_seq)))
    except (TimeoutError, DatabaseUnavailable, DeadlineExceeded):
        return None  # What was written is written: the answer must not say that it failed.


def given(action_input: type[ActionInput], client_input: object, **known: Any) -> ActionInput:
    """What a client gave, as an action takes it: the fields of the same names, without what was left out.

    `known` are fields that are worth more than a copy.
    """
    wanted = {field.name for field in fields(action_input)} - known.keys()
    copied = {name: value for name, value in _members(client_input).items() if name in wanted}
    return action_input(**copied, **known)


def or_none(value: T | None) -> T | None:
    """The value, or None where it was left out."""
    return None if value is UNSET else value


async def _written(tx: Transaction, work: Work, actor: Actor) -> Written:
    return Written(await work(tx, actor), tx.last_event_seq)


def _members(client_input: Any) -> dict[str, Any]:
    members = {field.name: getattr(client_input, field.name) for field in fields(client_input)}
    return {
        name: _members(value) if is_dataclass(value) else value for name, value in members.items() if value is not UNSET
    }
