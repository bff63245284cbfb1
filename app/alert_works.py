"""What is done about alerts again and again, by one server of the fleet at a time."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from actions.alert_upkeep import settle
from actions.jobs import Job
from app.jobs import Work
from db.database import Database
from domain.grouping import GroupingRules


def alert_works(
    database: Database, rules: GroupingRules, *, now: Callable[[], datetime], upkeep_seconds: float
) -> Mapping[str, Work]:
    """The recurring jobs, by kind."""

    async def keep_up(_job: Job) -> None:
        await database.transact(partial(settle, rules=rules), now=now())

    return {"alert_upkeep": Work(run=keep_up, timeout_seconds=60, every_seconds=upkeep_seconds)}
