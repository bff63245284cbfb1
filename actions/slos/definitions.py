"""The definitions of objectives, read for whoever writes them down elsewhere."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import RowMapping, Text, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actions.slos.records import definition_of
from db.arrays import among
from db.services import services
from db.slos import slos
from domain.errors import Conflict
from domain.objectives import ObjectiveDefinition


async def read_definitions(
    connection: AsyncConnection, *, service_names: Collection[str] | None = None, ids: Collection[UUID] | None = None
) -> dict[UUID, ObjectiveDefinition]:
    """Definitions by id: all of them, those of some services (by name, in any case), or those with some ids.

    Raises Conflict for one that was written by hand and says no indicator that can be measured.
    """
    columns = [column for column in slos.c if column.computed is None]
    statement = select(*columns, services.c.name.label("service")).join(services)
    if service_names is not None:
        statement = statement.where(
            among(func.lower(services.c.name, type_=Text), [name.lower() for name in service_names])
        )
    if ids is not None:
        statement = statement.where(among(slos.c.id, ids))
    rows = await connection.execute(statement.order_by(services.c.name, slos.c.name))
    return {row["id"]: _definition(row) for row in rows.mappings()}


def _definition(row: RowMapping) -> ObjectiveDefinition:
    try:
        return definition_of(row)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        message = f'The SLO "{row["name"]}" of {row["service"]} is not kept as a whole: say its indicator anew'
        raise Conflict(message, row["version"]) from error
