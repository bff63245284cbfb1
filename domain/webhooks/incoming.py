"""An alert as it arrives, whatever it arrived in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.alerts import AlertStatus
from domain.incidents import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingAlert:
    """One alert of a delivery. `starts_at` and `ends_at` are None where the source does not say.

    `group_key` is the group that the source put it in. `is_acknowledged` means that somebody works on it,
    `ends_incident` that its end is the end of the whole trouble. `remarks` say what could not be kept. `unsaid` are the
    fields that an end, or an acknowledgement, has nothing to say about: what is known of them stays.
    """

    name: str
    fingerprint: str
    status: AlertStatus
    severity: Severity
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime | None
    ends_at: datetime | None
    generator_url: str | None = None
    group_key: str | None = None
    is_acknowledged: bool = False
    ends_incident: bool = False
    remarks: tuple[str, ...] = ()
    unsaid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An alert of a delivery that is none, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request brought, in its order. `left_out` counts alerts that the source has but did not send."""

    alerts: Sequence[IncomingAlert | Rejected]
    left_out: int = 0
