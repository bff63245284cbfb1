"""What a source has and we have not, and the other way round: the difference, as alerts that nobody told."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domain.alerts import AlertStatus
from domain.webhooks.incoming import IncomingAlert

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KnownFiring:
    """An alert that fires here: as it would be told, and since when nothing new was told of it."""

    source: str
    alert: IncomingAlert
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SeenFiring:
    """An alert that fires at its source, since `seen_since`. `is_told`: the source means to tell us of it."""

    alert: IncomingAlert
    seen_since: datetime
    is_told: bool = True


def missed(
    there: Sequence[SeenFiring], here: Iterable[KnownFiring], *, at: datetime, grace: timedelta, is_complete: bool
) -> list[IncomingAlert]:
    """The alerts of one source that should have been told, at a moment at which the source was asked.

    What is younger than `grace` may still be on its way. Only a complete answer of the source means that what it does
    not have is over.
    """
    known = {firing.alert.fingerprint: firing for firing in here}
    seen = {firing.alert.fingerprint for firing in there}
    old = at - grace
    fired = {
        firing.alert.fingerprint: firing.alert
        for firing in there
        if firing.is_told
        and firing.seen_since <= old
        and not _is_known(firing.alert, known.get(firing.alert.fingerprint))
    }
    gone = [
        replace(firing.alert, status=AlertStatus.RESOLVED, ends_at=at)
        for fingerprint, firing in known.items()
        if is_complete and fingerprint not in seen and firing.changed_at <= old
    ]
    return [*fired.values(), *gone]


def _is_known(alert: IncomingAlert, firing: KnownFiring | None) -> bool:
    if firing is None:
        return False
    # What began later than what is known is another firing: the end in between was never told.
    known, told = firing.alert.starts_at, alert.starts_at
    return known is None or told is None or told <= known


def without_those_elsewhere(there: Iterable[SeenFiring], elsewhere: Collection[Labels]) -> list[SeenFiring]:
    """The alerts that no other source has. On its way an alert is given labels, and loses none."""
    by_name: dict[str | None, list[Labels]] = {}
    for labels in elsewhere:
        by_name.setdefault(labels.get("alertname"), []).append(labels)
    return [
        firing
        for firing in there
        if not any(
            firing.alert.labels.items() <= labels.items()
            for labels in by_name.get(firing.alert.labels.get("alertname"), ())
        )
    ]
