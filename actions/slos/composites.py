"""Composites: their slices follow from those of their members."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Text, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actions.slos.records import Kept, read_all
from actions.slos.slices import ALL, Stretch, read_slices
from db.arrays import among
from db.services import services
from db.slos import slos
from domain.objectives import Composite, Member
from engines.slo.series import combined, judge
from engines.slo.slices import Judged, unknown


async def composite_slices(connection: AsyncConnection, composite: Kept, start: int, end: int) -> Judged:
    """The judged slices of a composite from `start` until `end` (seconds since 1970).

    A member that was deleted or renamed meanwhile has no slices.
    """
    indicator = composite.definition.indicator
    if not isinstance(indicator, Composite):
        raise ValueError("not a composite")
    ids = await _member_ids(connection, indicator.members)
    members = {one.id: one for one in await read_all(connection, [id for id in ids if id is not None])}
    seconds = composite.slice_seconds
    read = await read_slices(connection, [Stretch(id, start, end, seconds) for id in members])
    judged = [
        judge(read[id, ALL], members[id].record)
        if id in members
        else judge(unknown(1, start, end, seconds), composite.record)
        for id in ids
    ]
    return combined(indicator, judged, composite.record)


async def _member_ids(connection: AsyncConnection, members: Sequence[Member]) -> list[UUID | None]:
    statement = select(slos.c.id, func.lower(services.c.name), func.lower(slos.c.name)).join(services)
    names = [member.name.lower() for member in members]
    rows = await connection.execute(statement.where(among(func.lower(slos.c.name, type_=Text), names)))
    ids = {(service, name): id for id, service, name in rows}
    return [ids.get((member.service.lower(), member.name.lower())) for member in members]
