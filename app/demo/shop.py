"""The shop's people, services and promises."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, func, insert, select

from actions import people, services
from app.demo.identity import stable_id
from db.database import Transaction
from db.people import teams, users
from db.services import services as services_table
from db.slos import slos
from domain.access import Actor, Role
from domain.slos import IndicatorKind

OPENED_BEFORE = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works on incidents."""

    id: UUID
    name: str

    @property
    def actor(self) -> Actor:
        """Them, doing something."""
        return Actor(id=self.id, name=self.name, role=Role.RESPONDER)


@dataclass(frozen=True, slots=True)
class Shop:
    """What the stories of the demo are about: service ids by name, and who owns them."""

    services: Mapping[str, UUID]
    owners: Mapping[str, Sequence[Person]]
    people: Mapping[str, Person]


async def open_shop(tx: Transaction, actor: Actor, progress: Callable[[int, int], None]) -> Shop:
    """Add what is not there yet. Teams, people and services that have these names already stay as they are."""
    tx = Transaction(tx.connection, tx.now - OPENED_BEFORE)
    plan = tomllib.loads(files("app.demo").joinpath("data", "shop.toml").read_text(encoding="utf-8"))
    staff = {person["name"]: Person(await _person(tx, person, actor), person["name"]) for person in plan["people"]}
    members: dict[str, list[Person]] = {team["name"]: [] for team in plan["teams"]}
    for person in plan["people"]:
        if "team" in person:
            members[person["team"]].append(staff[person["name"]])
    team_ids = {team["name"]: await _team(tx, team, members[team["name"]], actor) for team in plan["teams"]}
    ids: dict[str, UUID] = {}
    for done, service in enumerate(plan["services"], start=1):
        ids[service["name"]] = await _service(tx, service, team_ids[service["team"]], actor)
        progress(done, len(plan["services"]))
    owners = {service["name"]: members[service["team"]] for service in plan["services"]}
    return Shop(ids, owners, staff)


async def _person(tx: Transaction, person: Mapping[str, Any], actor: Actor) -> UUID:
    known = await _known(tx, users, func.lower(users.c.email) == person["email"])
    role = Role(person.get("role", Role.RESPONDER))
    return known or await people.create_user(tx, person["email"], person["name"], role=role, actor=actor)


async def _team(tx: Transaction, team: Mapping[str, Any], members: Sequence[Person], actor: Actor) -> UUID:
    known = await _known(tx, teams, func.lower(teams.c.name) == team["name"].lower())
    member_ids = [member.id for member in members]
    return known or await people.create_team(
        tx, team["name"], description=team["description"], member_ids=member_ids, actor=actor
    )


async def _service(tx: Transaction, service: Mapping[str, Any], team_id: UUID, actor: Actor) -> UUID:
    name = service["name"]
    known = await _known(tx, services_table, func.lower(services_table.c.name) == name)
    if known is not None:
        return known
    new = services.NewService(
        name=name,
        display_name=name.replace("-", " ").capitalize().replace("Api", "API"),
        description=service["description"],
        tier=service["tier"],
        team_id=team_id,
        repository_url=f"https://git.larkspur.example/shop/{name}",
        documentation_url=f"https://wiki.larkspur.example/services/{name}",
        runbook_url=f"https://wiki.larkspur.example/runbooks/{name}",
        labels={"language": service["language"], "environment": "production"},
        selectors={"prometheus": {"job": name}, "loki": {"service_name": name}, "tempo": name},
        depends_on=service.get("depends_on", ()),
    )
    id = await services.create(tx, new, actor=actor)
    await tx.execute(insert(slos), _promises(tx, id, service))
    return id


async def _known(tx: Transaction, table: Table, same: ColumnElement[bool]) -> UUID | None:
    id: UUID | None = (await tx.execute(select(table.c.id).where(same))).scalar_one_or_none()
    return id


def _promises(tx: Transaction, service_id: UUID, service: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The SLOs of a service, over the metrics of OpenTelemetry's semantic conventions."""
    requests = "http_server_request_duration_seconds"
    job = f'job="{service["name"]}"'
    total = f"sum(rate({requests}_count{{{job}}}[{{{{.window}}}}]))"
    common = {"service_id": service_id, "window_days": 28, "created_at": tx.now, "updated_at": tx.now}
    promises = [
        {
            "name": "availability",
            "description": "Requests that are answered without an error of ours.",
            "objective": Decimal(str(service["availability"])),
            "indicator_kind": IndicatorKind.RATIO,
            "indicator": {
                "good": f'sum(rate({requests}_count{{{job},http_response_status_code!~"5.."}}[{{{{.window}}}}]))',
                "total": total,
            },
        }
    ]
    if latency := service.get("latency"):
        promises.append(
            {
                "name": "latency",
                "description": f"Requests that are answered within {latency['seconds']:g} s.",
                "objective": Decimal(str(latency["objective"])),
                "indicator_kind": IndicatorKind.LATENCY,
                "indicator": {
                    "good": f'sum(rate({requests}_bucket{{{job},le="{latency["seconds"]}"}}[{{{{.window}}}}]))',
                    "total": total,
                },
            }
        )
    return [{"id": stable_id("slo", service["name"], promise["name"]), **common, **promise} for promise in promises]
