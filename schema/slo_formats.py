"""SLOs in the formats of other tools: OpenSLO, and rules for Prometheus."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import strawberry

from engines.slo.formats import openslo_writer
from engines.slo.rules.files import RuleDialect, rule_file
from engines.slo.rules.groups import RuleFormat
from resolvers import sql
from resolvers.context import RequestContext
from resolvers.limits.weights import Weight, costing
from resolvers.slo_formats import definition, definitions

Needed = strawberry.Parent[Mapping[str, Any]]
Format = Annotated[
    RuleFormat | None,
    strawberry.argument(description="A rule file of Prometheus, the default, or an object for its operator."),
]
Names = Annotated[
    RuleDialect | None,
    strawberry.argument(
        description="Whose names and labels the series have, so that its dashboards work: Sloth's by default."
    ),
]
ServiceNames = Annotated[
    list[str] | None, strawberry.argument(description="Only the SLOs of these services, by name; of all by default.")
]


async def _open_slo(needed: Needed, info: strawberry.Info[RequestContext]) -> str:
    return openslo_writer.text([await definition(info.context, UUID(needed["id"]))])


async def _prometheus_rules(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    format: Format = strawberry.UNSET,
    dialect: Names = strawberry.UNSET,
) -> str:
    found = await definition(info.context, UUID(needed["id"]))
    return rule_file(
        [found],
        dialect=dialect or RuleDialect.SLOTH,
        format=format or RuleFormat.PLAIN,
        name=_object_name(f"{found.service}-{found.name}"),
    ).text


def open_slo_field() -> Any:
    """`SLO.openSlo`."""
    return sql.elsewhere("It in OpenSLO v1, as YAML that imports back to the same.", _open_slo, id="{it}.id")


def prometheus_rules_field() -> Any:
    """`SLO.prometheusRules`."""
    description = (
        "Recording rules and multiwindow burn-rate alerts for Prometheus, as YAML. Where rules under these names "
        "cannot say it, a comment tells why."
    )
    return sql.elsewhere(description, _prometheus_rules, id="{it}.id")


EVERY_SLO = Weight(base=100)


@strawberry.type
class SLOFormatQueries:
    """Files for all SLOs."""

    @strawberry.field(description="Rules for Prometheus for all SLOs, as one YAML file.", metadata=costing(EVERY_SLO))
    async def prometheus_rules(
        self,
        info: strawberry.Info[RequestContext],
        services: ServiceNames = strawberry.UNSET,
        format: Format = strawberry.UNSET,
        dialect: Names = strawberry.UNSET,
    ) -> str | None:
        """One file with the rules of many objectives."""
        found = await definitions(info.context, services or None)
        return rule_file(found, dialect=dialect or RuleDialect.SLOTH, format=format or RuleFormat.PLAIN).text

    @strawberry.field(
        description="All SLOs in OpenSLO v1, as one YAML file that imports back to the same.",
        metadata=costing(EVERY_SLO),
    )
    async def open_slo(
        self, info: strawberry.Info[RequestContext], services: ServiceNames = strawberry.UNSET
    ) -> str | None:
        """One file with many objectives."""
        return openslo_writer.text(await definitions(info.context, services or None))


def _object_name(text: str) -> str:
    return openslo_writer.rfc_1123(text)
