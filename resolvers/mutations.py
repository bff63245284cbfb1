"""Writes that clients ask for: from the arguments of a mutation to what came of them."""

from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from uuid import UUID

from strawberry import UNSET

from db.database import Transaction
from domain.access import Actor, Role, require_role
from domain.errors import Conflict, Forbidden, IdempotencyKeyReused, NotFound, ValidationFailed
from resolvers.context import RequestContext

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
ActionInput = TypeVar("ActionInput", bound="DataclassInstance")

Work: TypeAlias = Callable[[Transaction, Actor], Awaitable[UUID]]
Refusal: TypeAlias = ValidationFailed | NotFound | Conflict | IdempotencyKeyReused | Forbidden

_REFUSALS: Final = (ValidationFailed, NotFound, Conflict, IdempotencyKeyReused, Forbidden)


async def write(context: RequestContext, work: Work) -> UUID | Refusal:
    """Do some work in one transaction: the id of what it was done to, or why nothing was written.

    Raises DatabaseUnavailable, DeadlineExceeded, and whatever nobody expected.
    """
    actor = context.actor
    try:
        require_role(actor, Role.RESPONDER)
        return await context.database.transact(lambda tx: work(tx, actor), now=context.now)
    except _REFUSALS as refusal:
        return refusal


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


def _members(client_input: Any) -> dict[str, Any]:
    members = {field.name: getattr(client_input, field.name) for field in fields(client_input)}
    return {
        name: _members(value) if is_dataclass(value) else value for name, value in members.items() if value is not UNSET
    }
