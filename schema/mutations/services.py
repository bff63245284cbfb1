"""Writes about the catalog: services, and what was deployed."""

from typing import Annotated

import strawberry
from strawberry import UNSET, argument

from actions import deployments, services
from actions.deployments import NewDeployment
from actions.services import NewService, ServiceChanges
from domain.permissions import CATALOG_WRITE
from domain.references import required_id
from domain.services import DeploymentOutcome
from resolvers import sql
from resolvers.mutations import given, or_none
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
from schema.scalars import JSON, URL, DateTime
from schema.services import Deployment, Service

TELEMETRY_INSTANCES = (
    'Which instance of each backend knows it, as in `{"prometheus": "eu"}`; the default one where none is given.'
)


@payload_type
class ServicePayload(Payload):
    """What came of a write to a service."""

    service: Service | None = sql.member(
        "The service as it is now. Null when nothing was written.", "services {it}", "row_id"
    )


@payload_type
class DeploymentPayload(Payload):
    """What came of a write to a deployment."""

    deployment: Deployment | None = sql.member(
        "The deployment as it is now. Null when nothing was written.", "deployments {it}", "row_id"
    )


@input_type
class ServiceSelectorsInput:
    """How a service is named in each backend. What is left out, or null, follows from the service's name."""

    prometheus: JSON | None = optional("Label matchers: label names and their values.")
    loki: JSON | None = optional("Label matchers of its log streams.")
    tempo: str | None = optional("The `service.name` of its traces.")
    signals: JSON | None = optional(
        "PromQL for golden signals, an object by signal. `$selector` stands for the label matchers without braces, "
        "`$window` for the range of a rate, as in `sum(rate(jobs_total{$selector}[$window]))`."
    )


@input_type
class CreateServiceInput:
    """What somebody declares of a service."""

    name: str = required("Its name, which no other service has in any case.")
    display_name: str | None = optional("What people call it; its name by default.")
    description: str | None = optional("What it does.")
    tier: int | None = optional("How much depends on it, from 1, the most important, to 5.")
    team_id: strawberry.ID | None = optional("The team that owns it.")
    repository_url: URL | None = optional("Where its code is.")
    documentation_url: URL | None = optional("Where it is explained.")
    runbook_url: URL | None = optional("What to do when it hurts.")
    labels: JSON | None = optional("Labels, a flat object of strings.")
    selectors: ServiceSelectorsInput | None = optional("How it is named in each backend.")
    telemetry_instances: JSON | None = optional(TELEMETRY_INSTANCES)
    depends_on: list[str] | None = optional(
        "The services that it depends on, by name or id; a new name is added to the catalog."
    )
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateServiceInput:
    """What shall be different about a service. What is left out stays; null empties what can be empty."""

    id: strawberry.ID = required("The service's id.")
    expected_version: int | None = optional(EXPECTED_VERSION)
    name: str | None = optional("Its name, which no other service has in any case.")
    display_name: str | None = optional("What people call it; its name when null.")
    description: str | None = optional("What it does.")
    tier: int | None = optional("How much depends on it, from 1, the most important, to 5.")
    team_id: strawberry.ID | None = optional("The team that owns it.")
    repository_url: URL | None = optional("Where its code is.")
    documentation_url: URL | None = optional("Where it is explained.")
    runbook_url: URL | None = optional("What to do when it hurts.")
    labels: JSON | None = optional("Labels, a flat object of strings, instead of the present ones.")
    selectors: ServiceSelectorsInput | None = optional("How it is named in each backend, instead of the present names.")
    telemetry_instances: JSON | None = optional(f"{TELEMETRY_INSTANCES} Instead of the present ones.")
    depends_on: list[str] | None = optional(
        "The services that it depends on, by name or id, instead of those declared so far."
    )


@input_type
class RecordDeploymentInput:
    """A change of a running thing, told by whoever makes it."""

    service: str = required("What was changed: a service by name or id; a new name is added to the catalog.")
    version: str = required("What was deployed.")
    environment: str | None = optional("Where to; production by default.")
    commit: str | None = optional("The commit that it was built from.")
    description: str | None = optional("What changed.")
    outcome: DeploymentOutcome | None = optional("How it ended, so far; SUCCEEDED by default.")
    url: URL | None = optional("Where to read more.")
    started_at: DateTime | None = optional("When it began; when it was over, or now, by default.")
    finished_at: DateTime | None = optional("When it was over; now by default, unless it is in progress.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.type
class ServiceMutations:
    """Writes about the catalog."""

    @mutation(CATALOG_WRITE)
    async def create_service(
        self, info: Info, input: Annotated[CreateServiceInput, argument(description="What is declared of it.")]
    ) -> ServicePayload:
        """Declare a service."""
        depends_on = or_none(input.depends_on) or ()
        return await ServicePayload.of(
            info,
            lambda tx, actor: services.create(
                tx,
                given(NewService, input, depends_on=depends_on),
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
        )

    @mutation(CATALOG_WRITE)
    async def update_service(
        self, info: Info, input: Annotated[UpdateServiceInput, argument(description="What shall be different.")]
    ) -> ServicePayload:
        """Change what is declared of a service."""
        return await ServicePayload.of(
            info,
            lambda tx, actor: services.update(
                tx,
                required_id(input.id, "service", "id"),
                given(ServiceChanges, input),
                expected_version=or_none(input.expected_version),
                actor=actor,
            ),
            "input",
        )

    @mutation(CATALOG_WRITE)
    async def delete_service(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="The service's id.")]
    ) -> DeletePayload:
        """Take a service out of the catalog, with its dependencies and deployments. Not while incidents or SLOs need
        it.
        """
        return await DeletePayload.of(
            info, lambda tx, actor: services.delete(tx, required_id(id, "service", "id"), actor=actor)
        )

    @mutation(CATALOG_WRITE)
    async def record_deployment(
        self, info: Info, input: Annotated[RecordDeploymentInput, argument(description="What is known of it.")]
    ) -> DeploymentPayload:
        """Tell of a deployment. It shows on the timelines of the incidents that hurt the service now."""
        return await DeploymentPayload.of(
            info,
            lambda tx, actor: deployments.record(
                tx,
                given(NewDeployment, input),
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
        )

    @mutation(CATALOG_WRITE)
    async def finish_deployment(
        self,
        info: Info,
        id: Annotated[strawberry.ID, argument(description="The deployment's id.")],
        outcome: Annotated[DeploymentOutcome, argument(description="How it ended.")],
        finished_at: Annotated[DateTime | None, argument(description="When it was over; now by default.")] = UNSET,
    ) -> DeploymentPayload:
        """Say how a deployment ended. A later word, such as that it was rolled back, replaces an earlier one."""
        return await DeploymentPayload.of(
            info,
            lambda tx, actor: deployments.finish(
                tx,
                required_id(id, "deployment", "id"),
                outcome,
                finished_at=or_none(finished_at),
                actor=actor,
            ),
        )
