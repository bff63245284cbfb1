"""Writes to SLOs: what is promised, what does not count, and evaluation at once."""

from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument

from actions.slos import adjustments, objectives
from actions.slos.adjustments import NewAdjustment
from actions.slos.checks import check
from db.database import Transaction
from domain.access import Actor
from domain.objectives import ObjectiveDefinition
from domain.permissions import SLOS_WRITE
from domain.references import required_id
from domain.slos import AdjustmentKind
from resolvers import sql
from resolvers.context import RequestContext
from resolvers.mutations import given, or_none
from resolvers.slos import definition_of, evaluate_now, prometheus_of
from schema.mutations.declarations import input_type, mutation, optional, payload_type, required
from schema.mutations.payloads import DeletePayload, Info, Payload
from schema.mutations.slo_inputs import CreateSLOInput, UpdateSLOInput, changes, new_definition, policy
from schema.scalars import DateTime
from schema.slos import SLO, SLOAdjustment


@payload_type
class SLOPayload(Payload):
    """What came of a write to an SLO."""

    slo: SLO | None = sql.member("The SLO as it is now. Null when nothing was written.", "slos {it}", "row_id")
    warnings: list[str] = strawberry.field(
        default_factory=list, description="What is allowed and probably not meant, or could not be tried."
    )


@payload_type
class SLOAdjustmentPayload(Payload):
    """What came of a write to an adjustment."""

    adjustment: SLOAdjustment | None = sql.member(
        "The adjustment as it is now. Null when nothing was written.", "slo_adjustments {it}", "row_id"
    )


@input_type
class AdjustSLOInput:
    """What does not count against the budget of an SLO, also for what is past."""

    slo_id: strawberry.ID = required("The SLO's id.")
    kind: AdjustmentKind = required("Whether time counts for nothing, or events are added or taken away.")
    starts_at: DateTime = required("From when.")
    ends_at: DateTime = required("Until when.")
    reason: str = required("Why.")
    recurrence: str | None = optional("How it recurs, an RRULE (RFC 5545) as in `FREQ=WEEKLY;BYDAY=SU`.")
    time_zone: str | None = optional("The time zone in which it recurs; UTC by default.")
    good_events: float | None = optional("Good events that a correction adds; negative ones are taken away.")
    total_events: float | None = optional("Events that a correction adds; negative ones are taken away.")


@strawberry.type
class SLOMutations:
    """Writes to SLOs."""

    @mutation(SLOS_WRITE)
    async def create_slo(
        self, info: Info, input: Annotated[CreateSLOInput, argument(description="What is promised.")]
    ) -> SLOPayload:
        """Promise something. Its queries are tried first, where Prometheus can be asked; 30 days of history follow by
        themselves.
        """
        warnings: list[str] = []
        rules = policy(or_none(input.error_budget_policy))

        async def checked() -> None:
            warnings.extend(await _checked(info.context, new_definition(input)))

        payload = await SLOPayload.of(
            info,
            lambda tx, actor: objectives.create(
                tx,
                new_definition(input),
                policy=rules,
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
            first=checked,
        )
        payload.warnings = warnings
        return payload

    @mutation(SLOS_WRITE)
    async def update_slo(
        self, info: Info, input: Annotated[UpdateSLOInput, argument(description="What shall be different.")]
    ) -> SLOPayload:
        """Change an SLO. Slices from now on are judged by what it promises now, those before as they were."""
        warnings: list[str] = []

        async def checked() -> None:
            present = await definition_of(info.context, required_id(input.id, "SLO", "id"))
            warnings.extend(await _checked(info.context, changes(input, present).applied_to(present)))

        async def work(tx: Transaction, actor: Actor) -> UUID:
            id = required_id(input.id, "SLO", "id")
            present = await objectives.definition(tx, id)
            wanted = changes(input, present)
            return await objectives.update(
                tx, id, wanted, expected_version=or_none(input.expected_version), actor=actor
            )

        payload = await SLOPayload.of(info, work, "input", first=checked)
        payload.warnings = warnings
        return payload

    @mutation(SLOS_WRITE)
    async def delete_slo(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="The SLO's id.")]
    ) -> DeletePayload:
        """Promise it no longer, and forget what was measured."""
        return await DeletePayload.of(
            info, lambda tx, actor: objectives.delete(tx, required_id(id, "SLO", "id"), actor=actor)
        )

    @mutation(SLOS_WRITE)
    async def evaluate_slo(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="The SLO's id.")]
    ) -> SLOPayload:
        """Evaluate an SLO now, instead of with the next cycle. A query that fails is the SLO's `lastError`."""

        async def evaluated() -> None:
            await evaluate_now(info.context, required_id(id, "SLO", "id"))

        return await SLOPayload.of(
            info,
            lambda tx, actor: objectives.note_evaluation(tx, required_id(id, "SLO", "id"), actor=actor),
            first=evaluated,
        )

    @mutation(SLOS_WRITE)
    async def adjust_slo(
        self, info: Info, input: Annotated[AdjustSLOInput, argument(description="What does not count, and why.")]
    ) -> SLOAdjustmentPayload:
        """Exclude time from an SLO, or correct its events, once or again and again. It is kept who did so and why."""
        return await SLOAdjustmentPayload.of(
            info,
            lambda tx, actor: adjustments.adjust(
                tx, required_id(input.slo_id, "SLO", "sloId"), given(NewAdjustment, input), actor=actor
            ),
            "input",
        )

    @mutation(SLOS_WRITE)
    async def remove_slo_adjustment(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="The adjustment's id.")]
    ) -> DeletePayload:
        """Let it count after all."""
        return await DeletePayload.of(
            info, lambda tx, actor: adjustments.remove(tx, required_id(id, "adjustment", "id"), actor=actor)
        )


async def _checked(context: RequestContext, definition: ObjectiveDefinition) -> list[str]:
    return await check(
        objectives.named(definition),
        await prometheus_of(context, definition.service),
        scrape_interval_seconds=context.scrape_interval_seconds,
        now=context.now,
        deadline=context.deadline,
    )
