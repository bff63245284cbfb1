"""SLOs from elsewhere: from files of OpenSLO, Sloth and Pyrra, and from what runs in a Prometheus already."""

from typing import Annotated, Self
from uuid import UUID

import strawberry
from strawberry import argument

from actions.slos.imports import Difference, Import, Outcome, SLOImportOutcomeKind
from domain.errors import ValidationFailed
from domain.permissions import SLOS_WRITE
from engines.slo.formats.reader import SpecificationFormat
from engines.slo.formats.specifications import Remark
from resolvers import sql
from resolvers.mutations import Refusal, cursor_after, or_none
from resolvers.slo_formats import adopt_running, import_text
from schema.errors import MutationError, mutation_error
from schema.mutations.declarations import input_type, mutation, optional, required
from schema.mutations.payloads import Info
from schema.scalars import JSON
from schema.slos import SLO

MOST_ERRORS = 100

DryRun = Annotated[bool, argument(description="Only say what would happen, and write nothing.")]


@strawberry.type(description="Something to say about one place of an imported text.")
class SpecificationRemark:
    """Something to say about one place of an imported text."""

    message: str = strawberry.field(description="What there is to say.")
    document: int = strawberry.field(description="In which document of the text, from 1.")
    line: int = strawberry.field(description="In which line, from 1.")
    path: str = strawberry.field(description="The names that lead to the place, as in spec.slos[0].sli.")

    @classmethod
    def of(cls, remark: Remark) -> Self:
        """A remark as clients see it."""
        return cls(message=remark.message, document=remark.document, line=remark.line, path=remark.path)


@strawberry.type(description="A member of an SLO that is not as it was.")
class SLODifference:
    """A member of an SLO that is not as it was."""

    field: str = strawberry.field(description="Its name.")
    before: JSON | None = strawberry.field(description="What it was.")
    after: JSON | None = strawberry.field(description="What the text says.")

    @classmethod
    def of(cls, difference: Difference) -> Self:
        """A difference as clients see it."""
        return cls(field=difference.name, before=difference.before, after=difference.after)


@strawberry.type(description="What became of one SLO.")
class SLOImportOutcome:
    """What became of one SLO."""

    row_id: strawberry.Private[UUID | None]
    kind: SLOImportOutcomeKind = strawberry.field(description="What became of it, or would without the dry run.")
    service: str = strawberry.field(description="The service that promises it.")
    name: str = strawberry.field(description="What it is called.")
    differences: list[SLODifference] = strawberry.field(description="What changed, where it was there already.")
    reason: str | None = strawberry.field(description="Why it is refused.")
    document: int = strawberry.field(description="In which document of the text it stands, from 1.")
    line: int = strawberry.field(description="In which line, from 1.")
    slo: SLO | None = sql.member("The SLO as it is now. Null where there is none.", "slos {it}", "row_id")

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """An outcome as clients see it."""
        return cls(
            row_id=outcome.slo_id,
            kind=outcome.kind,
            service=outcome.service,
            name=outcome.name,
            differences=[SLODifference.of(one) for one in outcome.differences],
            reason=outcome.reason or None,
            document=outcome.document,
            line=outcome.line,
        )


@strawberry.type(description="What came of an import: all of it was written, or nothing.")
class ImportPayload:
    """What came of an import: all of it was written, or nothing."""

    event_seq: strawberry.Private[int | None]
    written: bool = strawberry.field(description="Whether the SLOs are now as the text says.")
    outcomes: list[SLOImportOutcome] = strawberry.field(
        description="What became of each SLO, in the order of the text."
    )
    problems: list[SpecificationRemark] = strawberry.field(
        description="What is wrong with the text, or is not supported, each at its place. With any, nothing is written."
    )
    notices: list[SpecificationRemark] = strawberry.field(
        description="What was left out because it changes nothing here, and what was understood in one of several ways."
    )
    errors: list[MutationError] = strawberry.field(
        description="Why nothing was written, at most a hundred reasons. Empty when it was, and for a dry run."
    )

    @classmethod
    def of(cls, came: Import, *, dry_run: bool, path: tuple[str, ...]) -> Self:
        """What came of an import, as clients see it. `path` leads to the argument that holds the text."""
        return cls(
            event_seq=came.event_seq,
            written=came.is_written,
            outcomes=[SLOImportOutcome.of(outcome) for outcome in came.outcomes],
            problems=[SpecificationRemark.of(problem) for problem in came.problems],
            notices=[SpecificationRemark.of(notice) for notice in came.notices],
            errors=[] if dry_run else [mutation_error(refusal, path) for refusal in _refusals(came)],
        )

    @classmethod
    def refused(cls, refusal: Refusal, *inside: str) -> Self:
        """Nothing was written, and why."""
        errors = [mutation_error(refusal, inside)]
        return cls(event_seq=None, written=False, outcomes=[], problems=[], notices=[], errors=errors)

    @strawberry.field(
        description="Where the event log includes this change: `after` it comes what happened later. Null when nothing "
        "happened, or when the log is more than 2 s behind."
    )
    async def cursor(self, info: Info) -> str | None:
        """Where the event log includes this change."""
        return await cursor_after(info.context, self.event_seq)


@input_type
class ImportSLOsInput:
    """SLOs in the words of another tool."""

    text: str = required("YAML or JSON: OpenSLO v1 or v1alpha, Sloth or Pyrra, any number of documents; at most 10 MB.")
    format: SpecificationFormat | None = optional("Whose words it has to be in; whatever it says it is by default.")
    window_days: int | None = optional(
        "The window of Sloth's SLOs, which their files do not say: by default 30 days, or that of the one AlertWindows"
    )
    dry_run: bool | None = optional("Only say what would happen, and write nothing.")


@strawberry.type
class SLOImportMutations:
    """SLOs from elsewhere."""

    @mutation(SLOS_WRITE)
    async def import_open_slo(
        self,
        info: Info,
        yaml: Annotated[str, argument(description="OpenSLO v1 or v1alpha, any number of documents.")],
        dry_run: DryRun = False,
    ) -> ImportPayload:
        """Make SLOs what an OpenSLO text says: all of them, or none. What is as it says already is left alone."""
        came = await import_text(
            info.context, yaml, format=SpecificationFormat.OPENSLO, period_seconds=None, dry_run=dry_run
        )
        return ImportPayload.of(came, dry_run=dry_run, path=("yaml",))

    @mutation(SLOS_WRITE)
    async def import_slos(
        self, info: Info, input: Annotated[ImportSLOsInput, argument(description="The text.")]
    ) -> ImportPayload:
        """Make SLOs what a text of OpenSLO, Sloth or Pyrra says: all of them, or none. What is as it says already is
        left alone.
        """
        days, dry_run = or_none(input.window_days), bool(or_none(input.dry_run))
        if days is not None and not 1 <= days <= 366:
            return ImportPayload.refused(
                ValidationFailed("Window days must be from 1 to 366", ("windowDays",)), "input"
            )
        came = await import_text(
            info.context,
            input.text,
            format=or_none(input.format),
            period_seconds=None if days is None else days * 86_400,
            dry_run=dry_run,
        )
        return ImportPayload.of(came, dry_run=dry_run, path=("input", "text"))

    @mutation(SLOS_WRITE)
    async def adopt_slos(
        self,
        info: Info,
        dry_run: DryRun = False,
        instance: Annotated[
            str | None,
            argument(description="Which Prometheus, where several are configured; the default one by default."),
        ] = strawberry.UNSET,
    ) -> ImportPayload:
        """Take over the SLOs that run in a Prometheus under the rules of Sloth or Pyrra, found by these rules and their
        series. The rules stay as they are.
        """
        came = await adopt_running(info.context, instance=or_none(instance), dry_run=dry_run)
        return ImportPayload.of(came, dry_run=dry_run, path=())


def _refusals(came: Import) -> list[ValidationFailed]:
    remarks = [str(problem) for problem in came.problems]
    remarks += [
        f"document {outcome.document}, line {outcome.line}, {outcome.service}/{outcome.name}: {outcome.reason}"
        for outcome in came.outcomes
        if outcome.kind is SLOImportOutcomeKind.REFUSED
    ]
    return [ValidationFailed(remark) for remark in remarks[:MOST_ERRORS]]
