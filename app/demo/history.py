"""A year of incidents: each a scenario that happened at a time, to a place, and was dealt with by somebody."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from string import ascii_lowercase, digits
from typing import Final

from app.demo.deployments import Deployment
from app.demo.scenarios import Scenario
from app.demo.shop import Person
from domain.incidents import IncidentSource, Severity
from domain.services import DeploymentOutcome

YEAR: Final = timedelta(days=365)
INCIDENTS: Final = 250
# The newest of them is over by now, however long it took.
_QUIET: Final = timedelta(days=2, hours=12)
_HOURS: Final = (2, 1, 1, 1, 1, 1, 2, 3, 6, 8, 9, 8, 6, 7, 8, 8, 7, 6, 6, 7, 8, 7, 5, 3)
_REGIONS: Final = ("eu-west-1", "eu-west-1", "eu-central-1", "us-east-1")
_COUNTRIES: Final = ("Austria", "Belgium", "Denmark", "Ireland", "Portugal")
_CARRIERS: Final = ("Nordpost", "ParcelOwl", "Swiftline")

# Minutes, from and to: until somebody acts, until it no longer hurts, until the cause is gone.
_PACE: Final = {
    Severity.CRITICAL: ((1, 6), (8, 60), (20, 240)),
    Severity.HIGH: ((2, 12), (12, 110), (15, 300)),
    Severity.MEDIUM: ((4, 45), (20, 240), (10, 480)),
    Severity.LOW: ((10, 240), (60, 420), (10, 600)),
}


@dataclass(frozen=True, slots=True)
class PastIncident:
    """One that is over. `blanks` fill the scenario's texts; `severity_at_first` is what it was taken for."""

    scenario: Scenario
    blanks: Mapping[str, object]
    title: str
    severity_at_first: Severity
    severity: Severity
    source: IncidentSource
    team: Sequence[Person]
    deployment: Deployment | None
    started_at: datetime
    detected_at: datetime
    acknowledged_at: datetime
    mitigated_at: datetime | None
    resolved_at: datetime

    @property
    def commander(self) -> Person:
        """Who led the work on it."""
        return self.team[0]

    @property
    def better_at(self) -> datetime:
        """When it no longer hurt."""
        return self.mitigated_at or self.resolved_at

    def fill(self, text: str, **more: object) -> str:
        """A text of the scenario with its blanks filled."""
        return text.format_map({**self.blanks, **more})


def past_incidents(
    scenarios: Sequence[Scenario], owners: Mapping[str, Sequence[Person]], *, now: datetime, random: Random
) -> list[PastIncident]:
    """A year's incidents, the oldest first. All of them are over before `now`."""
    deck = _deck(scenarios, random)
    starts = sorted(_start(place, now, random) for place in range(INCIDENTS))
    return [_happen(next(deck), owners, start, random) for start in starts]


def _deck(scenarios: Sequence[Scenario], random: Random) -> Iterator[Scenario]:
    """Scenarios without end, each as often as the others."""
    while True:
        yield from random.sample(scenarios, len(scenarios))


def _start(place: int, now: datetime, random: Random) -> datetime:
    """Spread over the year, more by day than by night, fewer on weekends."""
    day = now - YEAR + (YEAR - _QUIET) * ((place + random.random()) / INCIDENTS)
    if day.weekday() >= 5 and random.random() < 0.6:
        day -= timedelta(days=2)
    day = max(day, now - YEAR)
    (hour,) = random.choices(range(24), _HOURS)
    return day.replace(hour=hour, minute=random.randrange(60), second=random.randrange(60), microsecond=0)


def _happen(
    scenario: Scenario, owners: Mapping[str, Sequence[Person]], started_at: datetime, random: Random
) -> PastIncident:
    severity = _severity(scenario, random)
    to_acknowledge, to_mitigate, to_resolve = (_minutes(pace, random) for pace in _PACE[severity])
    detected_at = started_at + _minutes((1, 6) if scenario.alert else (6, 45), random)
    acknowledged_at = detected_at + to_acknowledge
    better_at = acknowledged_at + to_mitigate
    blanks = _blanks(scenario, random)
    return PastIncident(
        scenario=scenario,
        blanks=blanks,
        title=random.choice(scenario.titles).format_map({**blanks, "version": "{version}"}),
        severity_at_first=_less(severity) if random.random() < 0.2 else severity,
        severity=severity,
        source=_source(scenario, random),
        team=random.sample(owners[scenario.service], len(owners[scenario.service])),
        deployment=_bad_deployment(scenario, started_at, better_at) if scenario.bad_deployment else None,
        started_at=started_at,
        detected_at=detected_at,
        acknowledged_at=acknowledged_at,
        mitigated_at=better_at if random.random() < 0.85 else None,
        resolved_at=better_at + to_resolve,
    )


def _minutes(range_: tuple[float, float], random: Random) -> timedelta:
    """Usually near the lower end."""
    low, high = range_
    return timedelta(seconds=round(60 * random.triangular(low, high, low + (high - low) / 5)))


def _severity(scenario: Scenario, random: Random) -> Severity:
    """Most of the time it is caught before it hurts as much as it could."""
    severity = random.choice(scenario.severity)
    return _less(severity) if len(scenario.severity) > 1 and random.random() < 0.4 else severity


def _less(severity: Severity) -> Severity:
    order = list(Severity)
    return order[max(0, order.index(severity) - 1)]


def _source(scenario: Scenario, random: Random) -> IncidentSource:
    if scenario.alert is not None:
        return IncidentSource.DETECTION if random.random() < 0.15 else IncidentSource.ALERT
    return IncidentSource.API if random.random() < 0.15 else IncidentSource.MANUAL


def _bad_deployment(scenario: Scenario, started_at: datetime, better_at: datetime) -> Deployment:
    return Deployment(
        scenario.service,
        started_at - timedelta(minutes=4),
        better_at,
        DeploymentOutcome.ROLLED_BACK,
        f"{scenario.hypothesis or scenario.cause}".format_map({"version": "This version"}),
    )


def _blanks(scenario: Scenario, random: Random) -> dict[str, object]:
    replica = "".join(random.choices("0123456789abcdef", k=9))
    pod = "".join(random.choices(ascii_lowercase + digits, k=5))
    return {
        "region": random.choice(_REGIONS),
        "country": random.choice(_COUNTRIES),
        "carrier": random.choice(_CARRIERS),
        "percent": random.randint(4, 42),
        "count": random.randint(140, 4900),
        "seconds": random.randint(3, 24),
        "minutes": random.randint(14, 95),
        "hours": random.randint(9, 40),
        "nodes": random.randint(3, 9),
        "pod": f"{scenario.service}-{replica}-{pod}",
    }
