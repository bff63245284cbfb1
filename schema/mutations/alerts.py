"""Writes about alerts: where they belong, and when nobody is to be told of them."""

from typing import Annotated, Any

import strawberry
from strawberry import argument

from actions.alerts import maintenance, places
from actions.alerts.maintenance import NewWindow, WindowChanges
from domain.permissions import ALERTS_WRITE
from domain.references import required_id
from domain.unset import UNSET
from resolvers import sql
from resolvers.mutations import given, or_none
from schema.alerts import Alert
from schema.maintenance import MaintenanceWindow
from schema.mutations.declarations import IDEMPOTENCY_KEY, input_type, mutation, optional, payload_type, required
from schema.mutations.payloads import DeletePayload, Info, Payload
from schema.scalars import DateTime


@payload_type
class AlertPayload(Payload):
    """What came of a write to an alert."""

    alert: Alert | None = sql.member("The alert as it is now. Null when nothing was written.", "alerts {it}", "row_id")


@payload_type
class MaintenanceWindowPayload(Payload):
    """What came of a write to a maintenance window."""

    maintenance_window: MaintenanceWindow | None = sql.member(
        "The window as it is now. Null when nothing was written.", "maintenance_windows {it}", "row_id"
    )


@input_type
class LabelMatcherInput:
    """A condition on a label of an alert."""

    name: str = required("The label.")
    value: str = required("What it is held against; empty where the label must be missing.")
    is_regex: bool | None = optional("Whether that is a pattern, which matches the whole label; false by default.")
    is_equal: bool | None = optional("Whether it has to match, or must not; true by default.")


@input_type
class CreateMaintenanceWindowInput:
    """A time in which nobody is told of some alerts: those of a service, or those with some labels, or of both."""

    title: str = required("What is done.")
    service: str | None = optional("The service, by name or id.")
    matchers: list[LabelMatcherInput] | None = optional("What the labels of the alerts match, all of it.")
    starts_at: DateTime | None = optional("From when; now by default.")
    ends_at: DateTime = required("Until when.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateMaintenanceWindowInput:
    """What shall be different about a maintenance window. What is left out stays."""

    id: strawberry.ID = required("The window's id.")
    title: str | None = optional("What is done.")
    matchers: list[LabelMatcherInput] | None = optional("What the labels match, instead of the present matchers.")
    starts_at: DateTime | None = optional("From when.")
    ends_at: DateTime | None = optional("Until when; now, to end it.")


def _plain(given: list[LabelMatcherInput] | None, otherwise: Any = None) -> Any:
    """Matchers as actions take them, or something else where they were left out."""
    if given is strawberry.UNSET:
        return otherwise
    return [
        {
            "name": matcher.name,
            "value": matcher.value,
            "is_regex": or_none(matcher.is_regex),
            "is_equal": or_none(matcher.is_equal),
        }
        for matcher in given or ()
    ]


@strawberry.type
class AlertMutations:
    """Writes about alerts."""

    @mutation(ALERTS_WRITE)
    async def move_alert(
        self,
        info: Info,
        alert_id: Annotated[strawberry.ID, argument(description="The alert's id.")],
        incident_id: Annotated[strawberry.ID, argument(description="The incident that it belongs to.")],
    ) -> AlertPayload:
        """Say which incident an alert belongs to. It stays there, also when it fires again."""
        return await AlertPayload.of(
            info,
            lambda tx, actor: places.move(
                tx,
                required_id(alert_id, "alert", "alertId"),
                required_id(incident_id, "incident", "incidentId"),
                actor=actor,
            ),
        )

    @mutation(ALERTS_WRITE)
    async def detach_alert(
        self, info: Info, alert_id: Annotated[strawberry.ID, argument(description="The alert's id.")]
    ) -> AlertPayload:
        """Say that an alert does not belong to its incident. From now on it stands alone, in incidents of its own."""
        return await AlertPayload.of(
            info,
            lambda tx, actor: places.detach(tx, required_id(alert_id, "alert", "alertId"), actor=actor),
        )

    @mutation(ALERTS_WRITE)
    async def create_maintenance_window(
        self,
        info: Info,
        input: Annotated[CreateMaintenanceWindowInput, argument(description="When, and for which alerts.")],
    ) -> MaintenanceWindowPayload:
        """Tell nobody of some alerts for a while. What still fires when it ends is told then."""
        return await MaintenanceWindowPayload.of(
            info,
            lambda tx, actor: maintenance.create(
                tx,
                given(NewWindow, input, matchers=_plain(input.matchers)),
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
        )

    @mutation(ALERTS_WRITE)
    async def update_maintenance_window(
        self,
        info: Info,
        input: Annotated[UpdateMaintenanceWindowInput, argument(description="What shall be different.")],
    ) -> MaintenanceWindowPayload:
        """Change a maintenance window, or end it."""
        return await MaintenanceWindowPayload.of(
            info,
            lambda tx, actor: maintenance.update(
                tx,
                required_id(input.id, "maintenance window", "id"),
                given(WindowChanges, input, matchers=_plain(input.matchers, otherwise=UNSET)),
                actor=actor,
            ),
            "input",
        )

    @mutation(ALERTS_WRITE)
    async def delete_maintenance_window(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="The window's id.")]
    ) -> DeletePayload:
        """Take a maintenance window away, as if it had never been."""
        return await DeletePayload.of(
            info, lambda tx, actor: maintenance.delete(tx, required_id(id, "maintenance window", "id"), actor=actor)
        )
