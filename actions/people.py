"""Teams and users, without credentials."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table, func, select
from sqlalchemy import insert as insert_into
from sqlalchemy.dialects.postgresql import insert

from actions.recording import record
from actions.rows import required
from db.database import Transaction
from db.identifiers import new_id
from db.nouns import noun
from db.people import team_members, teams, users
from domain import text
from domain.access import Actor, Role
from domain.errors import Conflict, ValidationFailed
from domain.limits import TEAM_MEMBERS
from domain.people import email_address


async def create_team(
    tx: Transaction, name: str, *, description: str = "", member_ids: Sequence[UUID] = (), actor: Actor
) -> UUID:
    """Put people together who own services. Raises ValidationFailed, and Conflict when a team has this name already."""
    values = {
        "name": text.name(name, "Name", "name"),
        "description": text.prose(description, "Description", "description"),
    }
    if len(member_ids) > TEAM_MEMBERS:
        raise ValidationFailed(f"A team has {TEAM_MEMBERS} members at most", ("memberIds",))
    for place, member_id in enumerate(member_ids):
        await required(tx, users, member_id, "memberIds", str(place))
    user_ids = [*dict.fromkeys(member_ids)]
    id = await _insert_unique(tx, teams, teams.c.name, values)
    members: list[Any] = [{"team_id": id, "user_id": user_id, "since": tx.now} for user_id in user_ids]
    if members:
        await tx.execute(insert_into(team_members), members)
    await record(tx, actor=actor, action="team.create", subject_id=id, created={**values, "members": user_ids})
    return id


async def create_user(tx: Transaction, email: str, name: str, *, role: Role = Role.VIEWER, actor: Actor) -> UUID:
    """Add a person, who cannot log in yet. Raises ValidationFailed, and Conflict when the address is taken."""
    values = {"email": email_address(email, "email"), "name": text.name(name, "Name", "name"), "role": role}
    id = await _insert_unique(tx, users, users.c.email, values)
    await record(tx, actor=actor, action="user.create", subject_id=id, created=values)
    return id


async def _insert_unique(tx: Transaction, table: Table, unique: Column[Any], values: dict[str, Any]) -> UUID:
    """Insert a row unless there is one whose `unique` is the same in any case. Raises Conflict, naming that one."""
    id = new_id()
    row = {"id": id, "created_at": tx.now, "updated_at": tx.now, **values}
    added = await tx.execute(insert(table).values(row).on_conflict_do_nothing().returning(table.c.id))
    if added.first() is None:
        same = select(unique).where(func.lower(unique) == func.lower(values[unique.name]))
        taken = (await tx.execute(same)).scalar_one_or_none() or values[unique.name]
        raise Conflict(f'There is a {noun(table)} with the {unique.name} "{taken}" already', path=(unique.name,))
    return id
