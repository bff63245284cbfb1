"""Trials of promises: what another one would have said."""

import strawberry
from strawberry import UNSET

from domain.errors import ValidationFailed
from domain.objectives import ObjectiveDefinition
from domain.references import required_id
from domain.slos import AdjustmentKind
from engines.slo.adjustments import Adjustment
from resolvers.context import RequestContext
from resolvers.mutations import or_none
from resolvers.slos import definition_of, trial
from schema.mutations.declarations import input_type, optional, required
from schema.mutations.slo_inputs import PromiseInput, changes, promised
from schema.nodes import TimeRange
from schema.scalars import DateTime
from schema.slo_explanation import SLOTrial, tried


@input_type
class ExclusionInput:
    """Time that counts for nothing."""

    starts_at: DateTime = required("From when.")
    ends_at: DateTime = required("Until when.")
    recurrence: str | None = optional("How it recurs, an RRULE (RFC 5545).")
    time_zone: str | None = optional("The time zone in which it recurs; UTC by default.")


@input_type
class TestSLOInput(PromiseInput):
    """A promise to try: over the stored slices of an SLO, whose own promise holds where nothing else is said; or, with
    an indicator of its own, over what Prometheus still knows.
    """

    __test__ = False  # for pytest, which takes the name for its own

    slo_id: strawberry.ID | None = optional("The SLO whose slices are judged.")
    exclusions: list[ExclusionInput] | None = optional("Time that would count for nothing, besides what is excluded.")


async def tried_slo(context: RequestContext, given: TestSLOInput, range: TimeRange) -> SLOTrial:
    """The trial that an input asks for. Raises ValidationFailed, NotFound, TelemetryError."""
    slo_id = None if given.slo_id in (None, UNSET) else required_id(given.slo_id, "SLO", "input", "sloId")
    has_indicator = or_none(given.indicator) is not None
    if (slo_id is None) != has_indicator:
        raise ValidationFailed("Give either `sloId` or an indicator", ("input", "sloId"))
    definition: ObjectiveDefinition
    if slo_id is not None:
        present = await definition_of(context, slo_id)
        definition = changes(given, present).applied_to(present)
    else:
        definition = promised(given, service="trial", name="trial")
    adjustments = [
        Adjustment(
            kind=AdjustmentKind.EXCLUSION,
            starts_at=one.starts_at,
            ends_at=one.ends_at,
            recurrence=or_none(one.recurrence),
            time_zone=or_none(one.time_zone) or "UTC",
        )
        for one in or_none(given.exclusions) or ()
    ]
    return tried(await trial(context, definition, slo_id, adjustments, range.from_, range.to))
