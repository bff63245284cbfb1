"""A year of deployments: a few a week for each service, on working days, nearly all of them fine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from app.demo.identity import stable_id
from domain.services import DeploymentOutcome

_SUBJECTS = (
    "Update dependencies",
    "Update the base image",
    "Shorten log lines",
    "Translate the new texts",
    "Remove code behind an old flag",
    "Add a counter for retries",
    "Make the health check cheaper",
    "Read the region from the environment",
    "Give calls to other services a timeout",
    "Cache the list of countries",
    "Fix rounding in the monthly report",
    "Accept longer names",
    "Log the version at start-up",
    "Split the settings page",
    "Rename a column, second half",
    "Trace calls to the database",
    "Prepare the autumn sale",
    "Undo the change of Tuesday",
)
_MAXIMUM_A_WEEK = 5


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment without its version, which comes from its place among the others of its service."""

    service: str
    started_at: datetime
    finished_at: datetime
    outcome: DeploymentOutcome
    description: str


def routine(services: Iterable[str], *, start: datetime, end: datetime, random: Random) -> list[Deployment]:
    """What every week brings."""
    deployments = []
    for service in services:
        day = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        pace = random.uniform(1, _MAXIMUM_A_WEEK) / 5
        while day < end - timedelta(days=1):
            if day.weekday() < 5 and random.random() < pace:
                at = day + timedelta(seconds=random.randint(8 * 3600, 16 * 3600))
                outcome = DeploymentOutcome.FAILED if random.random() < 0.03 else DeploymentOutcome.SUCCEEDED
                took = timedelta(seconds=random.randint(90, 600))
                deployments.append(Deployment(service, at, at + took, outcome, random.choice(_SUBJECTS)))
            day += timedelta(days=1)
    return deployments


def versions(deployments: Iterable[Deployment], random: Random) -> dict[Deployment, str]:
    """The version of each, counting up from service to service's first."""
    numbers: dict[str, int] = {}
    result = {}
    for deployment in sorted(deployments, key=lambda deployment: (deployment.started_at, deployment.service)):
        number = numbers.get(deployment.service, random.randint(80, 400))
        numbers[deployment.service] = number + 1
        result[deployment] = f"v{number}"
    return result


def rows(
    numbered: Mapping[Deployment, str], service_ids: Mapping[str, UUID], random: Random
) -> list[Mapping[str, Any]]:
    """As the table has them."""
    return [
        {
            "id": stable_id("deployment", deployment.service, version),
            "service_id": service_ids[deployment.service],
            "version": version,
            "commit": f"{random.getrandbits(160):040x}",
            "environment": "production",
            "description": deployment.description,
            "outcome": deployment.outcome,
            "url": f"https://ci.larkspur.example/{deployment.service}/{version}",
            "started_at": deployment.started_at,
            "finished_at": deployment.finished_at,
            "created_at": deployment.started_at,
        }
        for deployment, version in numbered.items()
    ]
