"""How mutations, their inputs and their payloads are declared. The docstrings are what clients read."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import strawberry

from domain.access import Permission
from resolvers.compile.permissions import PERMISSION

T = TypeVar("T", bound=type)

IDEMPOTENCY_KEY: Final = (
    "Any text that tells this request from all others, such as a random UUID. When it comes again within 24 hours, "
    "with the same input, the answer is what the first one made, and nothing is written."
)
EXPECTED_VERSION: Final = "The `version` that was read. When somebody has changed the object since, nothing is written."


def mutation(permission: Permission) -> Callable[[Callable[..., Any]], Any]:
    """A field of the mutation type, for whoever has a permission."""

    def declare(resolver: Callable[..., Any]) -> Any:
        return strawberry.mutation(resolver, description=_docstring(resolver), metadata={PERMISSION: permission})

    return declare


def payload_type(cls: T) -> T:
    """The type of a mutation's answer."""
    return strawberry.type(cls, description=_docstring(cls))


def input_type(cls: T) -> T:
    """The type of a mutation's input."""
    return strawberry.input(cls, description=_docstring(cls))


def required(description: str) -> Any:
    """A field of an input that cannot be left out."""
    return strawberry.field(description=description)


def optional(description: str) -> Any:
    """A field of an input that can be left out, which is something else than null."""
    return strawberry.field(default=strawberry.UNSET, description=description)


def _docstring(declared: Any) -> str:
    return " ".join(declared.__doc__.split())
