"""What people take out of a budget's account: stretches of time, and events, each with who and why."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import delete as delete_from
from sqlalchemy import func, select

from actions.recording import Scope, record
from actions.rows import get, lock
from actions.slos.objectives import touch
from db.database import Transaction
from db.identifiers import new_id
from db.people import users
from db.slos import slo_adjustments, slos
from domain import text
from domain.access import Actor
from domain.errors import ValidationFailed
from domain.slos import AdjustmentKind
from engines.slo.adjustments import recurrence

MOST_ADJUSTMENTS: Final = 500
"""Of one objective."""

_LONGEST: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAdjustment:
    """What does not count, from `starts_at` until `ends_at`, and why. A correction says how many events it adds."""

    kind: AdjustmentKind
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    recurrence: str | None = None
    time_zone: str | None = None
    good_events: float | None = None
    total_events: float | None = None


async def adjust(tx: Transaction, slo_id: UUID, new: NewAdjustment, *, actor: Actor) -> UUID:
    """Exclude time from an objective, or correct its events, also for what is past. Return the adjustment's id.

    Raises NotFound, ValidationFailed.
    """
    reason = text.required_prose(new.reason, "Reason", "reason")
    _require_times(new)
    _require_events(new)
    slo = await lock(tx, slos, slo_id, "sloId")
    kept = select(func.count()).select_from(slo_adjustments).where(slo_adjustments.c.slo_id == slo_id)
    if (await tx.execute(kept)).scalar_one() >= MOST_ADJUSTMENTS:
        raise ValidationFailed(f"An SLO has at most {MOST_ADJUSTMENTS} adjustments: let one recur instead", ("sloId",))
    known = (await tx.execute(select(users.c.id).where(users.c.id == actor.id))).scalar_one_or_none()
    id = new_id()
    adjustment = await tx.insert(
        slo_adjustments,
        id=id,
        slo_id=slo_id,
        kind=new.kind,
        starts_at=new.starts_at,
        ends_at=new.ends_at,
        recurrence=new.recurrence,
        time_zone=new.time_zone,
        good_events=new.good_events,
        total_events=new.total_events,
        reason=reason,
        actor_id=known,
    )
    await touch(tx, slo_id)
    scope = Scope(service_ids=(slo["service_id"],))
    await record(tx, actor=actor, action="slo_adjustment.create", subject_id=id, created={**adjustment}, scope=scope)
    return id


async def remove(tx: Transaction, adjustment_id: UUID, *, actor: Actor) -> UUID:
    """Let it count after all. The audit log keeps what the adjustment was. Raises NotFound."""
    adjustment = await get(tx, slo_adjustments, adjustment_id, "id")
    slo = await lock(tx, slos, adjustment["slo_id"], "id")
    await tx.execute(delete_from(slo_adjustments).where(slo_adjustments.c.id == adjustment_id))
    await touch(tx, slo["id"])
    await record(
        tx,
        actor=actor,
        action="slo_adjustment.delete",
        subject_id=adjustment_id,
        deleted={**adjustment},
        scope=Scope(service_ids=(slo["service_id"],)),
    )
    return adjustment_id


def _require_times(new: NewAdjustment) -> None:
    if new.ends_at <= new.starts_at:
        raise ValidationFailed("It ends before it starts", ("endsAt",))
    if new.ends_at - new.starts_at > _LONGEST:
        raise ValidationFailed("It lasts longer than 366 days: change the objective instead", ("endsAt",))
    if new.time_zone is not None:
        try:
            ZoneInfo(new.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValidationFailed(f"There is no time zone {new.time_zone!r:.100}", ("timeZone",)) from error
    if new.recurrence is not None:
        recurrence(new.recurrence, "recurrence")


def _require_events(new: NewAdjustment) -> None:
    counted = [events for events in (new.good_events, new.total_events) if events]
    if new.kind is AdjustmentKind.EXCLUSION and counted:
        raise ValidationFailed("An exclusion takes out time, and no events: leave them away", ("goodEvents",))
    if new.kind is AdjustmentKind.CORRECTION and not counted:
        raise ValidationFailed("A correction says how many good or total events it adds", ("goodEvents",))
    if any(abs(events) > 1e15 for events in counted):
        raise ValidationFailed("These are more events than anybody can count", ("goodEvents",))
