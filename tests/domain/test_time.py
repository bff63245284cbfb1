from domain.time import Deadline


def test_a_deadline_counts_down_and_stops_at_zero():
    deadline = Deadline.after(60)
    first = deadline.remaining_seconds()
    assert 59 < deadline.remaining_seconds() <= first <= 60
    assert not deadline.expired


def test_a_deadline_in_the_past_has_expired():
    deadline = Deadline.after(-1)
    assert deadline.remaining_seconds() == 0
    assert deadline.expired
