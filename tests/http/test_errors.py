"""Which status tells of which error."""

from collections.abc import Iterator

from app.http.errors import STATUSES, status_of
from domain.errors import DomainError


def kinds(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        yield child
        yield from kinds(child)


def test_every_error_that_a_caller_can_be_told_has_a_status() -> None:
    without = {kind.__name__ for kind in kinds(DomainError) if not any(parent in STATUSES for parent in kind.__mro__)}

    assert without == set()


def test_only_what_is_our_own_fault_is_a_server_error() -> None:
    errors = {kind.__name__ for kind in kinds(DomainError) if status_of(kind.__new__(kind)) >= 500}

    assert errors == {"DatabaseUnavailable", "IssuerUnavailable", "DeadlineExceeded"}
