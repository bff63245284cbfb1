"""Objectives from and to the formats of other tools, for whoever asks."""

import asyncio
from collections.abc import Collection, Sequence
from uuid import UUID

from actions.slos.definitions import read_definitions
from actions.slos.imports import Import, import_specification
from domain.errors import NotFound
from domain.objectives import ObjectiveDefinition
from domain.time import Deadline
from engines.slo.adoption.adopting import SERIES_QUERY, adopted
from engines.slo.adoption.found import Found
from engines.slo.adoption.rules import RunningRule, RunningSeries
from engines.slo.formats.reader import SpecificationFormat, read
from engines.slo.formats.specifications import Read, Remark, Specification
from resolvers.compile import parameters
from resolvers.context import RequestContext
from telemetry_clients.prometheus import Prometheus


async def import_text(
    context: RequestContext, text: str, *, format: SpecificationFormat | None, period_seconds: int | None, dry_run: bool
) -> Import:
    """Import what a text says. Raises DatabaseUnavailable, DeadlineExceeded."""
    # A text may be ten megabytes: it is read beside the loop that answers everybody else.
    specification = await asyncio.to_thread(read, text, format, period_seconds=period_seconds)
    return await import_specification(
        context.database, specification, dry_run=dry_run, actor=context.actor, now=context.now
    )


async def adopt_running(context: RequestContext, *, instance: str | None, dry_run: bool) -> Import:
    """Import what runs in a Prometheus. Raises TelemetryError, DatabaseUnavailable, DeadlineExceeded."""
    specification = await running(context.telemetry.prometheus.get(instance), context.deadline)
    return await import_specification(
        context.database, specification, dry_run=dry_run, actor=context.actor, now=context.now
    )


async def running(prometheus: Prometheus, deadline: Deadline) -> Specification:
    """The objectives that run in a Prometheus, as if they had been read from a text. Raises TelemetryError."""
    rules, series = await asyncio.gather(
        prometheus.rules(deadline=deadline), prometheus.query(SERIES_QUERY, deadline=deadline)
    )
    beside = [
        RunningSeries(one.labels, one.points[-1].value)
        for one in series.series
        if one.points and one.points[-1].value is not None
    ]
    known = [
        RunningRule(group.name, rule.name, rule.query, rule.kind == "alerting", rule.labels, rule.annotations)
        for group in rules
        for rule in group.rules
    ]
    return _specification(adopted(known, beside))


def _specification(found: Sequence[Found]) -> Specification:
    """What was found running; what cannot be understood is a notice, and stays as it is where it runs."""
    understood = [Read(one.definition, 1, 1) for one in found if one.definition is not None]
    notices = [
        Remark(f'the objective "{one.id}" of {one.origin} is left where it is: {one.reason}')
        for one in found
        if one.definition is None
    ]
    if not found:
        notices.append(Remark("no rules or series of Sloth or Pyrra run there"))
    return Specification(tuple(understood), notices=tuple(notices))


async def definition(context: RequestContext, slo_id: UUID) -> ObjectiveDefinition:
    """The definition of one objective. Raises NotFound."""
    async with context.database.reading() as connection:
        found = await read_definitions(connection, ids=[slo_id])
    if slo_id not in found:
        raise NotFound("SLO", slo_id)
    return found[slo_id]


async def definitions(context: RequestContext, service_names: Collection[str] | None) -> list[ObjectiveDefinition]:
    """The definitions of all objectives, or of those of some services. Raises ValidationFailed."""
    names = None if service_names is None else [parameters.text(name) for name in service_names]
    async with context.database.reading() as connection:
        return [*(await read_definitions(connection, service_names=names)).values()]
