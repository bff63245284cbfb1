"""Maintenance windows: when nobody is to be told of some alerts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy import text as statement

from actions.discovery import find_or_discover, reference
from actions.idempotency import first_answer
from actions.recording import Scope, changes_of, record
from actions.rows import lock
from db.alert_suppressions import FOLLOW_WINDOW_SQL
from db.alerts import maintenance_windows
from db.database import Transaction
from db.identifiers import new_id
from db.people import users
from domain import text
from domain.access import Actor
from domain.errors import ValidationFailed
from domain.moments import moment
from domain.suppressions import LabelMatcher, checked_matchers
from domain.unset import UNSET, Unset

LONGEST: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWindow:
    """A window. `service` is an id or a name; `matchers` are objects of name, value, is_regex and is_equal."""

    title: str | None
    ends_at: datetime | None
    starts_at: datetime | None = None
    service: str | UUID | None = None
    matchers: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowChanges:
    """What shall be different. Only what is set counts."""

    title: str | Unset | None = UNSET
    matchers: Sequence[Mapping[str, Any]] | Unset | None = UNSET
    starts_at: datetime | Unset | None = UNSET
    ends_at: datetime | Unset | None = UNSET


async def create(tx: Transaction, new: NewWindow, *, idempotency_key: str | None = None, actor: Actor) -> UUID:
    """Make a window. Raises ValidationFailed, IdempotencyKeyReused."""
    title = text.line(new.title, "Title", "title")
    start = tx.now if new.starts_at is None else moment(new.starts_at, "Starts at", "startsAt")
    end = _end(start, new.ends_at)
    matchers = _matchers(new.matchers)
    wanted = None if new.service is None else reference(new.service, "service")
    _require_something(wanted is not None, matchers)
    id = new_id()
    asked = {
        "title": title,
        "starts_at": new.starts_at,
        "ends_at": end,
        "service": None if wanted is None else wanted.value,
        "matchers": [matcher.as_json() for matcher in matchers],
    }
    answer = await first_answer(
        tx, idempotency_key, operation="createMaintenanceWindow", input=asked, answer_id=id, actor=actor
    )
    if answer != id:
        return answer
    [service] = [None] if wanted is None else await find_or_discover(tx, [wanted], actor=actor)
    window = await tx.insert(
        maintenance_windows,
        id=id,
        title=title,
        service_id=None if service is None else service["id"],
        matchers=[matcher.as_json() for matcher in matchers],
        starts_at=start,
        ends_at=end,
        created_by_id=select(users.c.id).where(users.c.id == actor.id).scalar_subquery(),
    )
    scope = Scope(service_ids=() if service is None else (service["id"],))
    await record(tx, actor=actor, action="maintenance_window.create", subject_id=id, created={**window}, scope=scope)
    return id


async def update(tx: Transaction, id: UUID, wanted: WindowChanges, *, actor: Actor) -> UUID:
    """Change a window. Raises NotFound, ValidationFailed."""
    window = await lock(tx, maintenance_windows, id, "id")
    values: dict[str, Any] = {}
    if wanted.title is not UNSET:
        values["title"] = text.line(wanted.title, "Title", "title")
    if not isinstance(wanted.matchers, Unset):
        matchers = _matchers(wanted.matchers)
        _require_something(window["service_id"] is not None, matchers)
        values["matchers"] = [matcher.as_json() for matcher in matchers]
    start, end = window["starts_at"], window["ends_at"]
    if not isinstance(wanted.starts_at, Unset):
        start = moment(wanted.starts_at, "Starts at", "startsAt")
    if not isinstance(wanted.ends_at, Unset) or start != window["starts_at"]:
        end = _end(start, end if isinstance(wanted.ends_at, Unset) else wanted.ends_at)
    changes = changes_of(await tx.update(maintenance_windows, window, **values, starts_at=start, ends_at=end))
    if changes:
        await _follow(tx, id, end)
        await record(tx, actor=actor, action="maintenance_window.update", subject_id=id, changes=changes)
    return id


async def delete(tx: Transaction, id: UUID, *, actor: Actor) -> UUID:
    """Take a window away. Raises NotFound."""
    window = await lock(tx, maintenance_windows, id, "id")
    await tx.execute(delete_from(maintenance_windows).where(maintenance_windows.c.id == id))
    await _follow(tx, id, min(window["ends_at"], tx.now))
    await record(tx, actor=actor, action="maintenance_window.delete", subject_id=id, deleted={**window})
    return id


async def _follow(tx: Transaction, id: UUID, ends_at: datetime) -> None:
    """Let the alerts that it kept from being told say until when it really did."""
    await tx.execute(statement(FOLLOW_WINDOW_SQL), {"by": str(id), "ends_at": ends_at})


def _end(start: datetime, value: datetime | None) -> datetime:
    end = moment(value, "Ends at", "endsAt")
    if end <= start:
        raise ValidationFailed("Ends at lies before the window starts", ("endsAt",))
    if end - start > LONGEST:
        raise ValidationFailed(f"A window lasts {LONGEST.days} days at most", ("endsAt",))
    return end


def _matchers(given: Sequence[Mapping[str, Any]] | None) -> tuple[LabelMatcher, ...]:
    return checked_matchers(given or (), "matchers")


def _require_something(has_service: bool, matchers: Sequence[LabelMatcher]) -> None:
    if not has_service and not matchers:
        raise ValidationFailed("A window needs a service or matchers, or it would silence everything", ("matchers",))
