"""Writes about detection rules."""

from typing import Annotated

import strawberry
from strawberry import argument

from actions import detection_rules
from actions.detection_rules import DetectionRuleChanges, NewDetectionRule
from domain.alerts import Comparison, DetectionKind
from domain.incidents import Severity
from domain.permissions import DETECTION_WRITE
from domain.references import required_id
from domain.telemetry import GoldenSignal
from resolvers import sql
from resolvers.detection import require_evaluable, require_still_evaluable
from resolvers.mutations import given, or_none
from schema.detection import DetectionRule
from schema.mutations.declarations import (
    EXPECTED_VERSION,
    IDEMPOTENCY_KEY,
    input_type,
    mutation,
    optional,
    payload_type,
    required,
)
from schema.mutations.payloads import DeletePayload, Info, Payload
from schema.scalars import JSON

QUERY = (
    "PromQL to watch instead of a signal, one series a service, told apart by `service`, `service_name`, `job` or "
    "`app`. `$services` stands for a regular expression of the services' names, `$window` for the range of a rate, as "
    'in `sum by (service) (rate(jobs_failed_total{service=~"$services"}[$window]))`.'
)
PARAMETERS = "What else its kind wants to know, an object; see `docs/detection.md`."


@payload_type
class DetectionRulePayload(Payload):
    """What came of a write to a detection rule."""

    detection_rule: DetectionRule | None = sql.member(
        "The rule as it is now. Null when nothing was written.", "detection_rules {it}", "row_id"
    )


@input_type
class CreateDetectionRuleInput:
    """What shall be watched, and when it is an alert."""

    name: str = required("What the rule is called, as no other one is in any case.")
    kind: DetectionKind = required("How it decides.")
    severity: Severity | None = optional("How bad its alerts are; MEDIUM by default.")
    description: str | None = optional("What it is for.")
    is_enabled: bool | None = optional("Whether it is evaluated; it is by default.")
    signal: GoldenSignal | None = optional("The signal that it watches.")
    query: str | None = optional(QUERY)
    comparison: Comparison | None = optional("Which side of the threshold is bad; ABOVE by default.")
    threshold: float | None = optional(
        "Where bad begins: in the unit of the signal for THRESHOLD, as a ratio of what was for RATE_OF_CHANGE (0.5), "
        "in deviations from what is usual for SEASONAL (4), as a burn rate for SLO_BURN (14.4)."
    )
    for_seconds: int | None = optional("How long it must be bad, 0 to 86400; at once by default.")
    service_id: strawberry.ID | None = optional("The one service that it watches; all of them by default.")
    labels: JSON | None = optional("Labels of its alerts, a flat object of strings.")
    parameters: JSON | None = optional(PARAMETERS)
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateDetectionRuleInput:
    """What shall be different about a rule. What is left out stays; null empties what can be empty."""

    id: strawberry.ID = required("The rule's id.")
    expected_version: int | None = optional(EXPECTED_VERSION)
    name: str | None = optional("What the rule is called, as no other one is in any case.")
    kind: DetectionKind | None = optional("How it decides.")
    severity: Severity | None = optional("How bad its alerts are, from the next one on.")
    description: str | None = optional("What it is for.")
    is_enabled: bool | None = optional("Whether it is evaluated. What fires ends when it is not any more.")
    signal: GoldenSignal | None = optional("The signal that it watches.")
    query: str | None = optional(QUERY)
    comparison: Comparison | None = optional("Which side of the threshold is bad; ABOVE when null.")
    threshold: float | None = optional("Where bad begins; what is usual for its kind when null.")
    for_seconds: int | None = optional("How long it must be bad, 0 to 86400; at once when null.")
    service_id: strawberry.ID | None = optional("The one service that it watches; all of them when null.")
    labels: JSON | None = optional("Labels of its alerts, a flat object of strings, instead of the present ones.")
    parameters: JSON | None = optional(f"{PARAMETERS} Instead of the present ones.")


@strawberry.type
class DetectionMutations:
    """Writes about detection rules."""

    @mutation(DETECTION_WRITE)
    async def create_detection_rule(
        self, info: Info, input: Annotated[CreateDetectionRuleInput, argument(description="What shall be watched.")]
    ) -> DetectionRulePayload:
        """Let something be watched. A query is asked once before it is kept, where there is a Prometheus."""
        new = new_rule(input)
        return await DetectionRulePayload.of(
            info,
            lambda tx, actor: detection_rules.create(
                tx, new, idempotency_key=or_none(input.idempotency_key), actor=actor
            ),
            "input",
            first=lambda: require_evaluable(info.context, new),
        )

    @mutation(DETECTION_WRITE)
    async def update_detection_rule(
        self, info: Info, input: Annotated[UpdateDetectionRuleInput, argument(description="What shall be different.")]
    ) -> DetectionRulePayload:
        """Change a detection rule. What fires ends when it watches something else now, or is disabled."""
        wanted = given(DetectionRuleChanges, input)
        return await DetectionRulePayload.of(
            info,
            lambda tx, actor: detection_rules.update(
                tx,
                required_id(input.id, "detection rule", "id"),
                wanted,
                expected_version=or_none(input.expected_version),
                actor=actor,
            ),
            "input",
            first=lambda: require_still_evaluable(info.context, input.id, wanted),
        )

    @mutation(DETECTION_WRITE)
    async def delete_detection_rule(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="The rule's id.")]
    ) -> DeletePayload:
        """Watch something no longer. What the rule says is firing ends."""
        return await DeletePayload.of(
            info, lambda tx, actor: detection_rules.delete(tx, required_id(id, "detection rule", "id"), actor=actor)
        )


def new_rule(input: CreateDetectionRuleInput) -> NewDetectionRule:
    """The rule that an input describes."""
    defaults: dict[str, object] = {}
    if or_none(input.severity) is None:
        defaults["severity"] = Severity.MEDIUM
    if or_none(input.is_enabled) is None:
        defaults["is_enabled"] = True
    return given(NewDetectionRule, input, **defaults)
