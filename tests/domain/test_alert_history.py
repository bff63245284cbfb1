"""An alert's life, told in any order and any number of times."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.alert_history import AlertState, Occurrence, Outcome, start_of, tell
from domain.alerts import AlertDisposition, AlertStatus
from domain.incidents import Severity
from domain.webhooks.incoming import IncomingAlert

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def minute(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def said(status: AlertStatus, start: float | None, end: float | None = None, summary: str = "") -> IncomingAlert:
    return IncomingAlert(
        name="HighErrorRatio",
        fingerprint="e0df2298e77d85e2",
        status=status,
        severity=Severity.HIGH,
        labels={"service": "checkout"},
        annotations={"summary": summary} if summary else {},
        starts_at=None if start is None else minute(start),
        ends_at=None if end is None else minute(end),
    )


def firing(start: float | None, **more: str) -> IncomingAlert:
    return said(AlertStatus.FIRING, start, **more)


def resolved(start: float | None, end: float | None = None) -> IncomingAlert:
    return said(AlertStatus.RESOLVED, start, end)


class History:
    """One alert, as it is stored."""

    def __init__(self) -> None:
        self.state: AlertState | None = None
        self.occurrences: dict[datetime, Occurrence] = {}

    def tell(self, alert: IncomingAlert, *, at: float = 30) -> Outcome:
        known = self.occurrences.get(start_of(alert, self.state, minute(at)))
        outcome = tell(self.state, known, alert, received_at=minute(at))
        if outcome.state is not None and outcome.occurrence is not None:
            self.state = outcome.state
            self.occurrences[outcome.occurrence.starts_at] = outcome.occurrence
        return outcome

    def dispositions(self, *alerts: IncomingAlert) -> list[AlertDisposition]:
        return [self.tell(alert).disposition for alert in alerts]


D = AlertDisposition


def test_an_alert_fires_ends_and_fires_again_as_one():
    history = History()
    assert history.dispositions(firing(0), resolved(0, 5), firing(10)) == [D.CREATED, D.UPDATED, D.UPDATED]
    assert history.state is not None
    assert (history.state.status, history.state.occurrences) == (AlertStatus.FIRING, 2)
    assert history.occurrences[minute(0)] == Occurrence(minute(0), minute(5), is_over=True, has_fired=True)


def test_what_is_told_twice_is_a_duplicate():
    assert History().dispositions(firing(0), firing(0), resolved(0, 5), resolved(0, 5), resolved(0)) == [
        D.CREATED, D.DUPLICATE, D.UPDATED, D.DUPLICATE, D.DUPLICATE,
    ]  # fmt: skip


def test_an_end_that_overtook_its_firing_stays_the_end():
    history = History()
    assert history.dispositions(resolved(0, 5), firing(0)) == [D.CREATED, D.STALE]
    assert history.state is not None
    assert history.state.status is AlertStatus.RESOLVED
    assert history.state.newest.has_fired


def test_what_is_about_an_earlier_time_is_history():
    history = History()
    assert history.dispositions(firing(10, summary="new"), resolved(0, 5)) == [D.CREATED, D.STALE]
    assert history.state is not None
    assert (history.state.status, history.state.annotations) == (AlertStatus.FIRING, {"summary": "new"})
    assert history.state.occurrences == 2


def test_an_alert_that_says_something_else_is_updated():
    history = History()
    assert history.dispositions(firing(0, summary="28 %"), firing(0, summary="31 %")) == [D.CREATED, D.UPDATED]
    assert history.state is not None
    assert history.state.annotations == {"summary": "31 %"}


def test_a_source_without_times_means_the_occurrence_that_goes_on():
    history = History()
    assert [
        history.tell(alert, at=at).disposition
        for at, alert in enumerate(
            [resolved(None), firing(None), firing(None), resolved(None), resolved(None), firing(None)]
        )
    ] == [D.STALE, D.CREATED, D.DUPLICATE, D.UPDATED, D.DUPLICATE, D.UPDATED]
    assert [(occurrence.starts_at, occurrence.ends_at) for occurrence in history.occurrences.values()] == [
        (minute(1), minute(3)),
        (minute(5), None),
    ]


told = st.builds(
    lambda start, length, is_over: resolved(start, start + length) if is_over else firing(start),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
)


@given(st.lists(told, max_size=8).flatmap(lambda all: st.tuples(st.just(all), st.permutations(all + all[:3]))))
def test_any_order_and_repetition_leads_to_the_same_life(both: tuple[Sequence[IncomingAlert], Sequence[IncomingAlert]]):
    first, second = History(), History()
    first.dispositions(*both[0])
    second.dispositions(*both[1])
    assert first.occurrences == second.occurrences
    assert first.state == second.state


def test_an_end_that_says_nothing_of_the_alert_leaves_what_is_known_of_it():
    history = History()
    history.tell(firing(0, summary="28 %"))
    bare = replace(resolved(0, 5), name="e0df2298e77d85e2", severity=Severity.MEDIUM, labels={})
    unsaid = frozenset({"name", "severity", "labels", "annotations"})
    assert history.tell(replace(bare, unsaid=unsaid)).disposition is D.UPDATED
    assert history.state is not None
    assert (history.state.status, history.state.name, history.state.severity, history.state.labels) == (
        AlertStatus.RESOLVED,
        "HighErrorRatio",
        Severity.HIGH,
        {"service": "checkout"},
    )
    assert history.state.annotations == {"summary": "28 %"}
    # A firing says all that there is to say.
    history.tell(replace(firing(10), unsaid=frozenset({"annotations"})))
    assert history.state.annotations == {}
