"""Silences, as clients see them."""

from collections.abc import Mapping
from typing import Annotated, Any, cast

import strawberry

from domain.telemetry import SilenceState
from resolvers import silences
from resolvers.context import RequestContext
from resolvers.rendering import Plain
from schema.scalars import DateTime
from schema.telemetry import given
from telemetry_clients import alertmanager

States = Annotated[
    list[SilenceState] | None, strawberry.argument(description="In one of these states; in any by default.")
]
Instance = Annotated[str | None, strawberry.argument(description="The Alertmanager to ask, where there are several.")]


@strawberry.type(description="A condition on a label of alerts.")
class SilenceMatcher:
    """A condition on a label of alerts."""

    name: str = strawberry.field(description="The label.")
    value: str = strawberry.field(description="What its value is compared with.")
    is_regex: bool = strawberry.field(description="Whether that is a regular expression, for the whole value.")
    is_equal: bool = strawberry.field(description="Whether the label has to match, or must not.")


@strawberry.type(description="A promise to tell nobody of some alerts for a while. Alertmanager keeps it.")
class Silence:
    """A promise to tell nobody of some alerts for a while."""

    id: strawberry.ID = strawberry.field(description="Its id in Alertmanager.")
    state: SilenceState = strawberry.field(description="Whether it holds now.")
    matchers: list[SilenceMatcher] = strawberry.field(description="The alerts: those that all of these match.")
    starts_at: DateTime = strawberry.field(description="From when.")
    ends_at: DateTime = strawberry.field(description="Until when.")
    updated_at: DateTime = strawberry.field(description="When it was last changed.")
    created_by: str = strawberry.field(description="Who asked for it.")
    comment: str = strawberry.field(description="Why; it begins with the number of the incident that it is for.")


async def incident_silences(
    needed: strawberry.Parent[Mapping[str, Any]],
    info: strawberry.Info[RequestContext],
    states: States = strawberry.UNSET,
    instance: Instance = strawberry.UNSET,
) -> list[Silence] | None:
    """The silences for the incident with the needed `number`."""
    return await _silences(info, instance, needed["number"], states)


async def all_silences(
    info: strawberry.Info[RequestContext],
    states: States = strawberry.UNSET,
    incident_number: Annotated[
        int | None, strawberry.argument(description="For the incident with this number.")
    ] = strawberry.UNSET,
    instance: Instance = strawberry.UNSET,
) -> list[Silence] | None:
    """The silences of an Alertmanager."""
    return await _silences(info, instance, given(incident_number), states)


async def _silences(
    info: strawberry.Info[RequestContext], instance: str | None, number: int | None, states: States
) -> list[Silence]:
    wanted = given(states)
    names = None if wanted is None else [state.lower() for state in wanted]
    found = await silences.silences_of(info.context, given(instance), number, names)
    return cast("list[Silence]", Plain([silence_type(silence) for silence in found]))


def silence_type(silence: alertmanager.Silence) -> Silence:
    """A silence as clients see it."""
    return Silence(
        id=strawberry.ID(silence.id),
        state=SilenceState(silence.state.upper()),
        matchers=[
            SilenceMatcher(name=matcher.name, value=matcher.value, is_regex=matcher.is_regex, is_equal=matcher.is_equal)
            for matcher in silence.matchers
        ],
        starts_at=DateTime(silence.starts_at),
        ends_at=DateTime(silence.ends_at),
        updated_at=DateTime(silence.updated_at),
        created_by=silence.created_by,
        comment=silence.comment,
    )
