"""Telling what sources did not: their alerts compared with ours, and their silences kept beside our own windows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from actions.alerts.deliveries import kept_alert, tell_internal
from db.alert_grouping import WRITE_SUPPRESSIONS_SQL
from db.alert_reconciliation import FIRING_SQL, FORGET_SILENCES_SQL, IS_WAITING_SQL, TOLD_SQL, WRITE_SILENCES_SQL
from db.alert_suppressions import END_UNSEEN_SQL, FOLLOW_SILENCES_SQL
from db.database import Transaction
from db.identifiers import new_id
from db.recordsets import as_rows
from domain.alerts import AlertStatus, WebhookKind
from domain.limits import KEY_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS
from domain.reconciliation import KnownFiring
from domain.suppressions import LabelMatcher, SuppressionKind
from domain.text import clipped
from domain.webhooks.event_recorder import Muted
from domain.webhooks.incoming import IncomingAlert


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSilence:
    """A silence of Alertmanager, as it is now."""

    id: str
    matchers: tuple[LabelMatcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSuppression:
    """That a source tells nobody of an alert, and by what."""

    fingerprint: str
    kind: SuppressionKind
    by: str
    reason: str = ""
    starts_at: datetime
    ends_at: datetime | None = None


async def firing_here(tx: Transaction) -> tuple[list[KnownFiring], dict[tuple[str, str], UUID]] | None:
    """What fires here, and the ids of those alerts by source and fingerprint.

    None while deliveries wait, which may tell what would be found missing.
    """
    if (await tx.execute(text(IS_WAITING_SQL))).scalar_one():
        return None
    known = []
    ids = {}
    for row in await tx.execute(text(FIRING_SQL)):
        known.append(KnownFiring(row.source, kept_alert(row, AlertStatus.FIRING), row.updated_at))
        ids[row.source, row.fingerprint] = row.id
    return known, ids


async def tell_missed(tx: Transaction, missed: Mapping[str, Sequence[IncomingAlert]]) -> int:
    """Tell of alerts by their sources, marked as found by ourselves; return how many."""
    for source, alerts in missed.items():
        await tell_internal(tx, source=source, alerts=alerts, kind=WebhookKind.RECONCILIATION)
    return sum(map(len, missed.values()))


async def keep_silences(tx: Transaction, seen: Collection[SeenSilence]) -> None:
    """Know the silences of Alertmanager as they are now; forget those that are over and gone."""
    rows = [
        {
            "id": silence.id,
            "matchers": [matcher.as_json() for matcher in silence.matchers],
            "starts_at": silence.starts_at,
            "ends_at": silence.ends_at,
            "created_by": clipped(silence.created_by, TEXT_CHARACTERS),
            "comment": clipped(silence.comment, TEXT_CHARACTERS),
        }
        for silence in seen
        if len(silence.id) <= KEY_CHARACTERS
    ]
    if rows:
        await tx.execute(text(WRITE_SILENCES_SQL), {"rows": as_rows(rows), "now": tx.now})
    await tx.execute(text(FOLLOW_SILENCES_SQL), {"now": tx.now})
    await tx.execute(text(FORGET_SILENCES_SQL), {"now": tx.now, "ids": [row["id"] for row in rows]})


async def keep_muted(tx: Transaction, source: str, muted: Sequence[Muted]) -> int:
    """Remember what a source says of why it told nobody of alerts; return of how many that we know."""
    fingerprints = [*{it.fingerprint for it in muted}]
    rows = (await tx.execute(text(TOLD_SQL), {"source": source, "fingerprints": fingerprints})).all()
    starts = {row.fingerprint: row.starts_at for row in rows}
    seen = [
        SeenSuppression(
            fingerprint=it.fingerprint,
            kind=it.kind,
            by=it.by,
            reason=it.reason,
            starts_at=it.starts_at or starts[it.fingerprint],
            ends_at=it.ends_at,
        )
        for it in muted
        if it.fingerprint in starts
    ]
    await keep_suppressions(tx, source, seen, {(source, row.fingerprint): row.id for row in rows})
    return len(rows)


async def keep_suppressions(
    tx: Transaction, source: str, seen: Sequence[SeenSuppression], ids: Mapping[Any, UUID]
) -> None:
    """Remember why a source tells nobody of alerts that we know."""
    rows = [
        {
            "id": new_id(),
            "alert_id": ids[source, suppression.fingerprint],
            "kind": suppression.kind,
            "by": clipped(suppression.by, TITLE_CHARACTERS),
            "reason": clipped(suppression.reason, TEXT_CHARACTERS),
            "starts_at": suppression.starts_at,
            "ends_at": suppression.ends_at,
        }
        for suppression in {(it.fingerprint, it.kind, it.by): it for it in seen if it.by}.values()
        if (source, suppression.fingerprint) in ids
    ]
    if rows:
        await tx.execute(text(WRITE_SUPPRESSIONS_SQL), {"rows": as_rows(rows), "now": tx.now})


async def end_unseen(tx: Transaction, source: str, seen: Sequence[SeenSuppression]) -> None:
    """Say of everything else for which a source told nobody, without an end that was known, that it ends now."""
    rows = [{"fingerprint": it.fingerprint, "kind": it.kind, "by": clipped(it.by, TITLE_CHARACTERS)} for it in seen]
    await tx.execute(text(END_UNSEEN_SQL), {"source": source, "now": tx.now, "seen": as_rows(rows)})
