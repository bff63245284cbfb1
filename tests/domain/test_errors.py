"""The errors that a caller can be told."""

import re

import domain.errors
from domain.errors import Conflict, DomainError, InvalidTransition, NotFound, ValidationFailed


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+) +([A-Z_]+)", domain.errors.__doc__ or "")

    def descend(kind: type[DomainError]) -> set[tuple[str, str]]:
        return {(child.__name__, child.code) for child in kind.__subclasses__()}.union(
            *(descend(child) for child in kind.__subclasses__())
        )

    assert {(name, code) for name, code in descend(DomainError) if hasattr(domain.errors, name)} == set(drawn)


def test_an_error_carries_what_the_caller_needs() -> None:
    assert ValidationFailed("Title is required", ["input", "title"]).path == ("input", "title")
    assert NotFound("incident", 7).message == "There is no incident 7"
    assert Conflict("Read it again", current_version=3).current_version == 3
    assert issubclass(InvalidTransition, Conflict)
