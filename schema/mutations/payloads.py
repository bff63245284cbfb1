"""What mutations answer with."""

from typing import Self, TypeAlias
from uuid import UUID

import strawberry

from resolvers.context import RequestContext
from resolvers.mutations import First, Refusal, Work, Written, cursor_after, write
from schema.errors import MutationError, mutation_error
from schema.mutations.declarations import payload_type

Info: TypeAlias = strawberry.Info[RequestContext]


@strawberry.type
class Payload:
    """What came of a write: either all of it happened, or there are errors and nothing was written."""

    row_id: strawberry.Private[UUID | None]
    event_seq: strawberry.Private[int | None]
    errors: list[MutationError] = strawberry.field(description="Why nothing was written. Empty when it was.")

    @classmethod
    async def of(cls, info: Info, work: Work, *inside: str, first: First | None = None) -> Self:
        """Do the work, and what has to come `first`, outside of its transaction. `inside` leads from the mutation's
        arguments to what the work takes for its input.
        """
        outcome = await write(info.context, work, first)
        if isinstance(outcome, Written):
            return cls(row_id=outcome.id, event_seq=outcome.event_seq, errors=[])
        return cls.refused(outcome, *inside)

    @classmethod
    def refused(cls, refusal: Refusal, *inside: str) -> Self:
        """Nothing was written, and why."""
        return cls(row_id=None, event_seq=None, errors=[mutation_error(refusal, inside)])

    @strawberry.field(
        description="Where the event log includes this change: `after` it comes what happened later. Null when nothing "
        "happened, or when the log is more than 2 s behind."
    )
    async def cursor(self, info: Info) -> str | None:
        """Where the event log includes this change."""
        return await cursor_after(info.context, self.event_seq)


@payload_type
class DeletePayload(Payload):
    """What came of a deletion."""

    @strawberry.field(description="The id of what was deleted. Null when nothing was.")
    def deleted_id(self) -> strawberry.ID | None:
        """The id of what was deleted."""
        return None if self.row_id is None else strawberry.ID(str(self.row_id))
