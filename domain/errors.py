"""The errors a caller can be told.

    DomainError
    ├── ValidationFailed         BAD_USER_INPUT           a value breaks a rule; `path` leads to its field
    ├── NotFound                 NOT_FOUND                nothing has this id (or name)
    ├── Conflict                 CONFLICT                 the row has moved on; carries its version now
    │   └── InvalidTransition    CONFLICT                 the lifecycle does not lead from here to there
    ├── IdempotencyKeyReused     IDEMPOTENCY_KEY_REUSED   the same key came before with another input
    ├── Unauthenticated          UNAUTHENTICATED          nobody knows who asks, or the proof does not hold
    ├── Forbidden                FORBIDDEN                the viewer may not do this
    ├── LimitExceeded            LIMIT_EXCEEDED           more was asked for at once than is allowed; says how much
    ├── TooManyRequests          TOO_MANY_REQUESTS        the caller asks too often; says when to come back
    ├── DocumentNotTrusted       DOCUMENT_NOT_TRUSTED     only documents that the operator trusts are executed here
    ├── InvalidCursor            INVALID_CURSOR           a cursor that no page of ours carried
    ├── CursorExpired            CURSOR_EXPIRED           what the cursor resumes from was removed; carries the oldest
    ├── DeadlineExceeded         DEADLINE_EXCEEDED        the time allowed for the operation is up
    ├── IssuerUnavailable        ISSUER_UNAVAILABLE       whoever vouches for the caller's token cannot be asked
    └── DatabaseUnavailable      DATABASE_UNAVAILABLE     the database does not answer; trying again is right

The messages are written for the caller: they never hold SQL, addresses, stack traces or secrets.
"""

from collections.abc import Sequence
from typing import ClassVar


class DomainError(Exception):
    """What went wrong, in words for the caller. `code` is stable; `path` leads from the input's root to the field."""

    code: ClassVar[str]

    def __init__(self, message: str, path: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = tuple(path)


class ValidationFailed(DomainError):
    """A value breaks a rule."""

    code = "BAD_USER_INPUT"


class NotFound(DomainError):
    """Nothing of this kind has this id. `noun` is the word for people: "incident", "detection rule"."""

    code = "NOT_FOUND"

    def __init__(self, noun: str, id: object, path: Sequence[str] = ()) -> None:
        super().__init__(f"There is no {noun} {id}", path)
        self.noun = noun
        self.id = id


class Conflict(DomainError):
    """What the caller wants contradicts what is stored now. `current_version` is the row's, where it has one."""

    code = "CONFLICT"

    def __init__(self, message: str, current_version: int | None = None, path: Sequence[str] = ()) -> None:
        super().__init__(message, path)
        self.current_version = current_version


class InvalidTransition(Conflict):
    """The lifecycle does not lead from the present status to the wanted one."""


class IdempotencyKeyReused(DomainError):
    """The same idempotency key came before, with another input."""

    code = "IDEMPOTENCY_KEY_REUSED"


class Unauthenticated(DomainError):
    """Nobody knows who asks: no token came, or one that does not hold. `is_token_wrong` tells these apart."""

    code = "UNAUTHENTICATED"

    def __init__(self, message: str, *, is_token_wrong: bool = True) -> None:
        super().__init__(message)
        self.is_token_wrong = is_token_wrong


class Forbidden(DomainError):
    """The viewer may not do this."""

    code = "FORBIDDEN"


class LimitExceeded(DomainError):
    """More was asked for at once than is allowed.

    `limit` is the limit's name for programs, `requested` what was asked, None where it was not counted to the end.
    """

    code = "LIMIT_EXCEEDED"

    def __init__(self, message: str, *, limit: str, allowed: int, requested: int | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed
        self.requested = requested


class TooManyRequests(DomainError):
    """The caller asks too often, or too much at the same time. Nothing was done; later it will be."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, message: str, *, limit: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        self.requested: int | None = None
        """What was asked for would cost so much, where that is known."""


class DocumentNotTrusted(DomainError):
    """Only documents that the operator trusts are executed here, and this is none of them."""

    code = "DOCUMENT_NOT_TRUSTED"


class InvalidCursor(DomainError):
    """A cursor that no page of ours carried, or one of another order."""

    code = "INVALID_CURSOR"


class CursorExpired(DomainError):
    """The events after this cursor were removed since. Read a fresh snapshot, and go on from its cursor."""

    code = "CURSOR_EXPIRED"

    def __init__(self, oldest_cursor: str, path: Sequence[str] = ()) -> None:
        super().__init__("The events after this cursor are no longer kept, read a fresh snapshot", path)
        self.oldest_cursor = oldest_cursor


class DeadlineExceeded(DomainError):
    """The time allowed for the operation is up, and the work on it was stopped."""

    code = "DEADLINE_EXCEEDED"

    def __init__(self, message: str = "The operation took longer than allowed", path: Sequence[str] = ()) -> None:
        super().__init__(message, path)


class IssuerUnavailable(DomainError):
    """The keys of whoever signed the caller's token cannot be had at the moment; trying again is right."""

    code = "ISSUER_UNAVAILABLE"


class DatabaseUnavailable(DomainError):
    """The database does not answer, or went away. A write that was under way happened as a whole or not at all."""

    code = "DATABASE_UNAVAILABLE"

    def __init__(
        self, message: str = "The database is not available at the moment, try again", path: Sequence[str] = ()
    ) -> None:
        super().__init__(message, path)
