"""A small shop to look around in: services, people, promises, a year of incidents, and one that is open right now."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, Final

from sqlalchemy import Table, func, insert, select

from actions.incidents import next_number
from actions.recording import Scope, record
from actions.service_status import follow_incidents
from app.demo import deployments as releases
from app.demo import present
from app.demo.chronicle import Chronicle
from app.demo.history import YEAR, PastIncident, past_incidents
from app.demo.identity import stable_id
from app.demo.scenarios import scenarios
from app.demo.shop import Shop, open_shop
from db.alerts import alert_occurrences, alerts
from db.database import Database, Transaction
from db.deployments import deployments
from db.incidents import incidents, incidents_services
from db.investigation import incident_tasks, investigation_hypotheses, investigation_steps
from db.people import teams, users
from db.services import service_dependencies, services
from db.slos import slos
from db.timeline import timeline_events
from domain.access import Actor, Role
from domain.changes import Change
from domain.feed import EventType
from domain.incidents import IncidentStatus

Progress = Callable[[str, int, int], None]
"""Called with what is being loaded, how much of it is done, and how much there is."""

# Any number that no other advisory lock of ours has.
_LOCK: Final = 7_310_942_655
_SEED: Final = 20_260_101
_LOADER: Final = Actor(id=None, name="demo", role=Role.ADMIN)
_COUNTED: Final = (
    *(teams, users, services, service_dependencies, slos, deployments),
    *(incidents, timeline_events, alerts, investigation_hypotheses, investigation_steps, incident_tasks),
)
# Each after those that it points at.
_HISTORY: Final = (
    *(incidents, incidents_services, timeline_events, alerts, alert_occurrences),
    *(investigation_hypotheses, investigation_steps, incident_tasks),
)


async def load(database: Database, *, now: datetime, progress: Progress = lambda *_: None) -> Mapping[str, int]:
    """Load the demo shop, all of it or nothing, and return how many rows of each table were added.

    Where it was loaded before, nothing happens, whatever became of it since. Raises as Database.transact does.
    """
    return await database.transact(partial(_load, progress=progress), now=now)


async def _load(tx: Transaction, progress: Progress) -> Mapping[str, int]:
    await tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if await tx.get(incidents, stable_id("incident", 0)) is not None:
        return {}
    before = await _counts(tx)
    random = Random(_SEED)  # noqa: S311  # the same story every time, no secret
    shop = await open_shop(tx, _LOADER, partial(progress, "Services"))
    past = past_incidents(scenarios(), shop.owners, now=tx.now, random=random)
    versions = await _deploy(tx, shop, past, random)
    await _remember(tx, shop, past, versions, random, partial(progress, "Incidents"))
    await follow_incidents(tx, [*shop.services.values()], actor=_LOADER)
    newest = max(int(version[1:]) for release, version in versions.items() if release.service == "payments")
    await present.play(tx, shop, version=f"v{newest + 1}", previous=f"v{newest}")
    after = await _counts(tx)
    return {name: after[name] - before[name] for name in after}


async def _deploy(
    tx: Transaction, shop: Shop, past: Sequence[PastIncident], random: Random
) -> Mapping[releases.Deployment, str]:
    """A year of deployments, with those that the incidents were blamed on; returns their versions."""
    routine = releases.routine(shop.services, start=tx.now - YEAR, end=tx.now, random=random)
    blamed = [incident.deployment for incident in past if incident.deployment is not None]
    versions = releases.versions([*routine, *blamed], random)
    await tx.execute(insert(deployments), releases.rows(versions, shop.services, random))
    return versions


async def _remember(
    tx: Transaction,
    shop: Shop,
    past: Sequence[PastIncident],
    versions: Mapping[releases.Deployment, str],
    random: Random,
    progress: Callable[[int, int], None],
) -> None:
    """Write the incidents as they ended, each with one entry in the audit log and one event: it came in as a whole."""
    first = (await tx.execute(select(await next_number(tx)))).scalar_one()
    rows: dict[Table, list[Mapping[str, Any]]] = defaultdict(list)
    chronicles = []
    for place, incident in enumerate(past):
        version = versions[incident.deployment] if incident.deployment else ""
        chronicle = Chronicle(
            incident,
            number=first + place,
            place=place,
            version=version,
            service_ids=shop.services,
            now=tx.now,
            random=random,
        )
        chronicles.append(chronicle)
        for table in _HISTORY:
            rows[table] += chronicle.rows[table]
    for table in _HISTORY:
        await tx.execute(insert(table), rows[table])
    for done, chronicle in enumerate(chronicles, start=1):
        await _announce(Transaction(tx.connection, chronicle.row["updated_at"]), chronicle)
        progress(done, len(past))


async def _announce(tx: Transaction, chronicle: Chronicle) -> None:
    service_ids = tuple(impact["service_id"] for impact in chronicle.rows[incidents_services])
    await record(
        tx,
        actor=_LOADER,
        action="incident.import",
        subject_id=chronicle.id,
        changes=[Change("status", None, IncidentStatus.RESOLVED)],
        created=chronicle.row,
        scope=Scope(chronicle.id, service_ids, chronicle.row["severity"]),
        event=EventType.INCIDENT_CREATED,
    )


async def _counts(tx: Transaction) -> dict[str, int]:
    counts = [select(func.count()).select_from(table).scalar_subquery().label(table.name) for table in _COUNTED]
    return dict((await tx.execute(select(*counts))).mappings().one())
