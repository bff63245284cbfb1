"""Writes about silences, from an incident."""

from typing import Annotated, Self

import strawberry
from strawberry import UNSET, argument

from domain.permissions import ALERTS_WRITE
from resolvers.mutations import Refusal, Written, or_none
from resolvers.silences import NewSilence, create_silence, expire_silence
from schema.mutations.declarations import IDEMPOTENCY_KEY, input_type, mutation, optional, required
from schema.mutations.payloads import Info, Payload
from schema.silences import Silence, silence_type
from telemetry_clients import alertmanager
from telemetry_clients.alertmanager import Matcher


@strawberry.type(description="What came of a write to a silence.")
class SilencePayload(Payload):
    """What came of a write to a silence."""

    silence: Silence | None = strawberry.field(
        default=None, description="The silence as it is now. Null when nothing was changed."
    )

    @classmethod
    def about(cls, outcome: Written | Refusal, silence: alertmanager.Silence | None, *inside: str) -> Self:
        """The payload of a write that Alertmanager and the database have both seen, or of one that was refused."""
        if not isinstance(outcome, Written):
            return cls.refused(outcome, *inside)
        shown = None if silence is None else silence_type(silence)
        return cls(row_id=outcome.id, event_seq=outcome.event_seq, errors=[], silence=shown)


@input_type
class SilenceMatcherInput:
    """A condition on a label of alerts."""

    name: str = required("The label.")
    value: str = required("What its value is compared with.")
    is_regex: bool | None = optional("Whether that is a regular expression, for the whole value; it is not by default.")
    is_equal: bool | None = optional("Whether the label has to match, or must not; it has to by default.")


@input_type
class CreateSilenceInput:
    """Which alerts nobody shall be told of, for how long and why."""

    incident_id: strawberry.ID = required("The incident that it is for.")
    duration_seconds: int = required("For how long from now: 60 to 2592000 (30 days).")
    comment: str = required("Why. The incident's number is put in front.")
    matchers: list[SilenceMatcherInput] | None = optional(
        "The alerts: those that all of these match. By default those of the incident, by name and service, or where it "
        "has none that is open, all of its services."
    )
    instance: str | None = optional("The Alertmanager, where there are several; that of the services by default.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.type
class SilenceMutations:
    """Writes about silences."""

    @mutation(ALERTS_WRITE)
    async def create_silence(
        self, info: Info, input: Annotated[CreateSilenceInput, argument(description="Which alerts, and how long.")]
    ) -> SilencePayload:
        """Let Alertmanager tell nobody of some alerts for a while, and write it on the timeline of an incident."""
        matchers = or_none(input.matchers)
        wanted = NewSilence(
            incident_id=input.incident_id,
            duration_seconds=input.duration_seconds,
            comment=input.comment,
            matchers=None if matchers is None else [_matcher(matcher) for matcher in matchers],
            instance=or_none(input.instance),
            idempotency_key=or_none(input.idempotency_key),
        )
        return SilencePayload.about(*await create_silence(info.context, wanted), "input")

    @mutation(ALERTS_WRITE)
    async def expire_silence(
        self,
        info: Info,
        incident_id: Annotated[strawberry.ID, argument(description="The incident on whose timeline it is written.")],
        id: Annotated[strawberry.ID, argument(description="The silence's id.")],
        instance: Annotated[
            str | None,
            argument(description="The Alertmanager, where there are several; that of the services by default."),
        ] = UNSET,
    ) -> SilencePayload:
        """End a silence before its time. One that has ended stays as it is, and nothing is written."""
        return SilencePayload.about(*await expire_silence(info.context, incident_id, id, or_none(instance)))


def _matcher(given: SilenceMatcherInput) -> Matcher:
    is_regex, is_equal = or_none(given.is_regex), or_none(given.is_equal)
    return Matcher(given.name, given.value, bool(is_regex), True if is_equal is None else is_equal)
