"""Silences: asked of Alertmanager, and written down once it has agreed.

Two systems cannot agree in one transaction. Alertmanager comes first, because it is the one that does something: what
was never written down still silences, and is found by the incident's number in its comment, which is how the silences
of an incident are read. A request that is repeated with its idempotency key finds the silence that it made.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from uuid import UUID

from actions import silences as actions
from domain import silences, text
from domain.errors import NotFound, ValidationFailed
from domain.references import required_id
from resolvers.context import RequestContext
from resolvers.mutations import REFUSALS, Refusal, Written, write
from resolvers.telemetry import backend_deadline
from telemetry_clients.alertmanager import Alertmanager, Matcher, Silence
from telemetry_clients.errors import TelemetryBadQuery, TelemetryNotConfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSilence:
    """What somebody wants not to be told of. Without matchers, the incident suggests them."""

    incident_id: str
    duration_seconds: int
    comment: str
    matchers: Sequence[Matcher] | None = None
    instance: str | None = None
    idempotency_key: str | None = None


async def create_silence(context: RequestContext, wanted: NewSilence) -> tuple[Written | Refusal, Silence | None]:
    """Silence alerts for an incident: what was written down and the silence, or why there is none.

    Raises TelemetryError where Alertmanager does not agree; then nothing is written down.
    """
    try:
        duration = silences.duration(wanted.duration_seconds, "durationSeconds")
        comment = text.required_prose(wanted.comment, "Comment", "comment")
        key = wanted.idempotency_key
        key = None if key is None else text.key(key, "Idempotency key", "idempotencyKey")
        incident_id = required_id(wanted.incident_id, "incident", "incidentId")
        plan = await context.database.transact(lambda tx: actions.plan(tx, incident_id), now=context.now)
        matchers = plan.matchers if wanted.matchers is None else wanted.matchers
        if not matchers:
            raise ValidationFailed(
                "The incident has neither alerts nor services to go by: say which alerts to silence", ("matchers",)
            )
        matchers = actions.required_matchers(matchers, "matchers")
        alertmanager = _alertmanager(context, wanted.instance, plan)
    except REFUSALS as refusal:
        return refusal, None
    mark = None if key is None else silences.mark_of(str(context.actor.id or context.actor.name), key)
    comment_there = silences.comment_for(plan.incident_number, comment, mark)
    try:
        silence = await _agreed(context, alertmanager, matchers, duration, comment_there, mark)
    except TelemetryBadQuery as refused:
        return ValidationFailed(refused.message, ("matchers",)), None
    asked = {
        "incident_id": str(incident_id),
        "matchers": None if wanted.matchers is None else [asdict(matcher) for matcher in wanted.matchers],
        "duration_seconds": wanted.duration_seconds,
        "comment": comment,
    }
    written = await write(
        context,
        lambda tx, actor: actions.record_created(
            tx,
            incident_id,
            UUID(silence.id),
            matchers=silence.matchers,
            ends_at=silence.ends_at,
            comment=comment,
            asked=asked,
            idempotency_key=key,
            actor=actor,
        ),
    )
    return written, silence


async def expire_silence(
    context: RequestContext, incident: str, silence: str, instance: str | None
) -> tuple[Written | Refusal, Silence | None]:
    """End a silence: what was written down and the silence, or why it is as it was. One that has ended stays so.

    Raises TelemetryError where Alertmanager does not agree; then nothing is written down.
    """
    try:
        incident_id, silence_id = required_id(incident, "incident", "incidentId"), required_id(silence, "silence", "id")
        plan = await context.database.transact(lambda tx: actions.plan(tx, incident_id), now=context.now)
        alertmanager = _alertmanager(context, instance, plan)
    except REFUSALS as refusal:
        return refusal, None
    deadline = backend_deadline(context)
    before = await alertmanager.silence(str(silence_id), deadline=deadline)
    if before is None or not await alertmanager.expire_silence(str(silence_id), deadline=deadline):
        return NotFound("silence", silence_id, ("id",)), None
    if before.state == "expired":
        return Written(silence_id, None), before
    written = await write(
        context,
        lambda tx, actor: actions.record_expired(tx, incident_id, silence_id, matchers=before.matchers, actor=actor),
    )
    return written, await alertmanager.silence(str(silence_id), deadline=deadline)


async def silences_of(
    context: RequestContext, instance: str | None, incident_number: int | None, states: Sequence[str] | None
) -> list[Silence]:
    """The silences of an Alertmanager, those that end last first: all, or those of an incident, or in some states."""
    alertmanager = context.telemetry.alertmanager.get(instance)

    async def ask(_: Sequence[None]) -> dict[None, tuple[Silence, ...]]:
        return {None: await alertmanager.silences(deadline=backend_deadline(context))}

    found = await context.batcher.ask(("silences", instance), None, ask)
    wanted = [
        silence
        for silence in found
        if (states is None or silence.state in states)
        and (incident_number is None or silences.incident_number(silence.comment) == incident_number)
    ]
    return sorted(wanted, key=lambda silence: (silence.ends_at, silence.id), reverse=True)


def _alertmanager(context: RequestContext, given: str | None, plan: actions.SilencePlan) -> Alertmanager:
    """The one that was asked for, or that of the incident's services. Raises TelemetryNotConfigured, and
    ValidationFailed where the one that was asked for is missing.
    """
    try:
        return context.telemetry.alertmanager.get(given or plan.instance)
    except TelemetryNotConfigured as missing:
        if given and context.telemetry.alertmanager:
            raise ValidationFailed(missing.message, ("instance",)) from missing
        raise


async def _agreed(
    context: RequestContext,
    alertmanager: Alertmanager,
    matchers: Sequence[Matcher],
    duration: timedelta,
    comment: str,
    mark: str | None,
) -> Silence:
    """The silence that Alertmanager now has for this request, made by it or by its first try."""
    deadline = backend_deadline(context)
    if mark is not None:
        for silence in await alertmanager.silences(deadline=deadline):
            if silence.comment.endswith(mark):
                return silence
    ends_at = context.now + duration
    id = await alertmanager.create_silence(
        matchers,
        starts_at=context.now,
        ends_at=ends_at,
        created_by=context.actor.name,
        comment=comment,
        deadline=deadline,
    )
    return Silence(id, "active", tuple(matchers), context.now, ends_at, context.now, context.actor.name, comment)
