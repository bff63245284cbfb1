"""How many connections may stay open."""

from collections.abc import Generator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from app.http.outlet import Admission, Full, TooManyStreams
from app.observability.live import ConnectionCounts
from domain.access import Actor, Role


def actor(address: str, *, is_user: bool = True) -> Actor:
    return Actor(id=uuid4() if is_user else None, name="Someone", role=Role.VIEWER, address=address)


@contextmanager
def admitted(admission: Admission, actor: Actor, counts: ConnectionCounts) -> Generator[None]:
    with admission.admit(actor.address, counts) as connection:
        connection.belong_to(actor)
        yield


def test_a_user_has_a_limited_number_of_connections_from_wherever():
    admission = Admission(most=100, most_per_address=10, most_per_user=2)
    counts = ConnectionCounts()
    user = actor("10.0.0.1")
    elsewhere = Actor(id=user.id, name=user.name, role=user.role, address="10.0.0.2")
    with admitted(admission, user, counts), admitted(admission, elsewhere, counts):
        with pytest.raises(TooManyStreams, match="MAX_STREAMS_PER_USER"), admitted(admission, user, counts):
            pass
        with admitted(admission, actor("10.0.0.1"), counts):
            assert (counts.open, counts.refused) == (3, 1)

    with admitted(admission, user, counts):
        assert counts.open == 1


def test_users_behind_one_address_share_what_the_address_may_have():
    admission = Admission(most=100, most_per_address=2, most_per_user=2)
    counts = ConnectionCounts()
    with admitted(admission, actor("10.0.0.1"), counts), admitted(admission, actor("10.0.0.1"), counts):
        with (
            pytest.raises(TooManyStreams, match="MAX_STREAMS_PER_ADDRESS"),
            admitted(admission, actor("10.0.0.1"), counts),
        ):
            pass
        with admitted(admission, actor("10.0.0.2"), counts):
            assert counts.open == 3


def test_who_has_not_signed_in_is_counted_by_address_alone():
    admission = Admission(most=100, most_per_address=3, most_per_user=1)
    counts = ConnectionCounts()
    anonymous = actor("10.0.0.1", is_user=False)
    with admitted(admission, anonymous, counts), admitted(admission, anonymous, counts):
        assert counts.open == 2


def test_a_process_holds_a_limited_number_whoever_they_are_of():
    admission = Admission(most=1, most_per_address=10, most_per_user=10)
    counts = ConnectionCounts()
    with (
        admitted(admission, actor("10.0.0.1"), counts),
        pytest.raises(Full, match="MAX_STREAMS"),
        admitted(admission, actor("10.0.0.2"), counts),
    ):
        pass

    with admitted(admission, actor("10.0.0.2"), counts):
        assert counts.open == 1
