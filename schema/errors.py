"""What a mutation answers instead of its object, when nothing was written."""

import strawberry

from domain.errors import Conflict, Forbidden, IdempotencyKeyReused, NotFound
from resolvers.mutations import Refusal


@strawberry.interface(description="Why a mutation wrote nothing, for the client to act on.")
class MutationError:
    """Why a mutation wrote nothing."""

    message: str = strawberry.field(description="What is wrong, in a sentence for people.")
    code: str = strawberry.field(description="What is wrong, in a word for programs that never changes.")
    path: list[str] = strawberry.field(
        description="Where: the names that lead from the mutation's arguments to the field, empty when it is none."
    )


@strawberry.type(description="A value breaks a rule. Its code is BAD_USER_INPUT.")
class ValidationError(MutationError):
    """A value breaks a rule."""


@strawberry.type(description="There is nothing with this id. Its code is NOT_FOUND.")
class NotFoundError(MutationError):
    """There is nothing with this id."""


@strawberry.type(
    description="It contradicts what is stored now. Its code is CONFLICT, or IDEMPOTENCY_KEY_REUSED when the key came "
    "before with another input."
)
class ConflictError(MutationError):
    """It contradicts what is stored now."""

    current_version: int | None = strawberry.field(
        description="The version of the object now, where it has one: read it again and decide anew."
    )


@strawberry.type(description="The viewer may not do this. Its code is FORBIDDEN.")
class ForbiddenError(MutationError):
    """The viewer may not do this."""


MUTATION_ERRORS = (ValidationError, NotFoundError, ConflictError, ForbiddenError)


def mutation_error(refusal: Refusal, inside: tuple[str, ...]) -> MutationError:
    """A refusal as clients see it. `inside` leads from the mutation's arguments to where the refusal's path begins."""
    message, code, path = refusal.message, refusal.code, [*inside, *refusal.path]
    match refusal:
        case Conflict():
            return ConflictError(message=message, code=code, path=path, current_version=refusal.current_version)
        case IdempotencyKeyReused():
            return ConflictError(message=message, code=code, path=path, current_version=None)
        case NotFound():
            return NotFoundError(message=message, code=code, path=path)
        case Forbidden():
            # It is about the viewer, and no argument could be another.
            return ForbiddenError(message=message, code=code, path=[*refusal.path])
        case _:
            return ValidationError(message=message, code=code, path=path)
