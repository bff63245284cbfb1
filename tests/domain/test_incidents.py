"""The life of an incident, without a database."""

from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidTransition, ValidationFailed
from domain.incidents import IncidentStatus, Lifecycle, advance, correct, opened, reopen, require_transition
from domain.moments import ALLOWED_CLOCK_SKEW

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OPEN, INVESTIGATING, MITIGATED, RESOLVED = IncidentStatus


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def new_incident() -> Lifecycle:
    return opened(started_at=None, detected_at=None, now=NOON)


def assert_sound(incident: Lifecycle) -> None:
    """What the CHECKs of the table say."""
    status = incident.status
    assert (status is RESOLVED) == (incident.resolved_at is not None)
    assert status is not MITIGATED or incident.mitigated_at is not None
    assert status is not INVESTIGATING or (incident.acknowledged_at is not None and incident.mitigated_at is None)
    assert status is not OPEN or (incident.acknowledged_at is None and incident.mitigated_at is None)
    times = (incident.detected_at, incident.acknowledged_at, incident.mitigated_at, incident.resolved_at)
    assert all(incident.started_at <= time for time in times if time is not None)


def test_an_incident_goes_through_its_life_and_every_step_stamps_its_time():
    incident = advance(new_incident(), INVESTIGATING, now=NOON + minutes(1))
    incident = advance(incident, MITIGATED, now=NOON + minutes(2))
    incident = advance(incident, RESOLVED, now=NOON + minutes(3))
    assert incident == Lifecycle(
        status=RESOLVED,
        started_at=NOON,
        detected_at=NOON,
        acknowledged_at=NOON + minutes(1),
        mitigated_at=NOON + minutes(2),
        resolved_at=NOON + minutes(3),
    )


def test_what_is_skipped_on_the_way_forward_gets_no_time_because_nobody_knows_it():
    incident = advance(new_incident(), RESOLVED, now=NOON + minutes(3))
    assert incident.resolved_at == NOON + minutes(3)
    assert incident.acknowledged_at is None
    assert incident.mitigated_at is None


@pytest.mark.parametrize("current", IncidentStatus)
@pytest.mark.parametrize("to", IncidentStatus)
def test_the_lifecycle_only_goes_forward(current: IncidentStatus, to: IncidentStatus):
    order = list(IncidentStatus)
    if order.index(to) > order.index(current):
        require_transition(current, to)
    else:
        with pytest.raises(InvalidTransition) as refusal:
            require_transition(current, to, version=7, path=["status"])
        assert refusal.value.current_version == 7
        assert refusal.value.path == ("status",)


def test_resolving_twice_says_that_it_is_resolved_already():
    with pytest.raises(InvalidTransition, match="The incident is resolved already"):
        require_transition(RESOLVED, RESOLVED)


def test_going_back_says_how_to_go_back():
    with pytest.raises(InvalidTransition, match="The incident is resolved: it goes back only by being reopened"):
        require_transition(RESOLVED, OPEN)


def test_reopening_an_acknowledged_incident_leads_back_to_the_investigation():
    incident = advance(new_incident(), INVESTIGATING, now=NOON + minutes(1))
    incident = reopen(advance(advance(incident, MITIGATED, now=NOON + minutes(2)), RESOLVED, now=NOON + minutes(3)))
    assert incident == Lifecycle(INVESTIGATING, NOON, detected_at=NOON, acknowledged_at=NOON + minutes(1))


def test_reopening_an_incident_that_nobody_acknowledged_leads_back_to_open():
    assert reopen(advance(new_incident(), RESOLVED, now=NOON + minutes(3))) == new_incident()


def test_what_is_still_being_worked_on_cannot_be_reopened():
    with pytest.raises(InvalidTransition, match="nothing to reopen"):
        reopen(new_incident())


def test_the_time_of_the_first_acknowledgement_survives_reopening():
    incident = advance(new_incident(), INVESTIGATING, now=NOON + minutes(1))
    again = reopen(advance(incident, RESOLVED, now=NOON + minutes(2)))
    assert advance(again, RESOLVED, now=NOON + minutes(9)).acknowledged_at == NOON + minutes(1)


def test_times_that_a_client_gives_are_kept():
    incident = opened(started_at=NOON - minutes(10), detected_at=NOON - minutes(5), now=NOON)
    assert (incident.started_at, incident.detected_at) == (NOON - minutes(10), NOON - minutes(5))


def test_an_incident_of_which_only_the_detection_is_known_started_no_later_than_that():
    incident = opened(started_at=None, detected_at=NOON - minutes(5), now=NOON)
    assert (incident.started_at, incident.detected_at) == (NOON - minutes(5), NOON - minutes(5))


def test_a_client_whose_clock_runs_ahead_by_a_minute_is_believed_and_one_that_runs_further_is_not():
    ahead = opened(started_at=NOON + ALLOWED_CLOCK_SKEW, detected_at=None, now=NOON)
    assert ahead.started_at == NOON + timedelta(seconds=60)
    assert_sound(advance(ahead, INVESTIGATING, now=NOON + timedelta(seconds=1)))
    with pytest.raises(ValidationFailed, match="Started at lies in the future") as refusal:
        opened(started_at=NOON + timedelta(seconds=61), detected_at=None, now=NOON)
    assert refusal.value.path == ("startedAt",)


def test_nothing_happens_to_an_incident_before_it_started():
    resolved = advance(new_incident(), RESOLVED, now=NOON + minutes(3))
    with pytest.raises(ValidationFailed, match="Resolved at lies before the incident started") as refusal:
        correct(resolved, {"resolved_at": NOON - minutes(1)}, now=NOON + minutes(4))
    assert refusal.value.path == ("resolvedAt",)


def test_an_incident_does_not_start_after_what_happened_to_it():
    resolved = advance(new_incident(), RESOLVED, now=NOON + minutes(3))
    with pytest.raises(ValidationFailed, match="Started at lies after the incident was detected") as refusal:
        correct(resolved, {"started_at": NOON + minutes(1)}, now=NOON + minutes(4))
    assert refusal.value.path == ("startedAt",)


def test_the_time_of_something_that_has_not_happened_is_refused():
    with pytest.raises(ValidationFailed, match="Mitigated at cannot be given: the incident is not mitigated"):
        correct(new_incident(), {"mitigated_at": NOON}, now=NOON)


def test_a_time_that_the_status_rests_on_cannot_be_taken_away():
    resolved = advance(new_incident(), RESOLVED, now=NOON)
    with pytest.raises(ValidationFailed, match="Resolved at is required"):
        correct(resolved, {"resolved_at": None}, now=NOON)


# Any sequence of what people can do, at any pace, with any times they may give.
moves = st.one_of(
    st.tuples(st.just("advance"), st.sampled_from(IncidentStatus)),
    st.tuples(st.just("reopen"), st.none()),
    st.tuples(
        st.just("correct"),
        st.dictionaries(
            st.sampled_from([field.name for field in fields(Lifecycle) if field.name != "status"]),
            st.none() | st.integers(-120, 400).map(lambda seconds: NOON + timedelta(seconds=seconds)),
            min_size=1,
        ),
    ),
)


@given(
    started=st.none() | st.integers(-600, 60).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    steps=st.lists(st.tuples(st.integers(0, 90), moves), max_size=12),
)
def test_no_sequence_of_changes_breaks_what_must_always_hold(started, steps):
    incident, now = opened(started_at=started, detected_at=None, now=NOON), NOON
    assert_sound(incident)
    for seconds, (move, argument) in steps:
        now += timedelta(seconds=seconds)
        with suppress(ValidationFailed, InvalidTransition):
            match move:
                case "advance":
                    incident = advance(incident, argument, now=now)
                case "reopen":
                    incident = reopen(incident)
                case "correct":
                    incident = correct(incident, argument, now=now)
        assert_sound(incident)
        assert all(
            getattr(incident, field.name) <= now + ALLOWED_CLOCK_SKEW
            for field in fields(incident)
            if field.name != "status" and getattr(incident, field.name) is not None
        )
