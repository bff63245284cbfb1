"""An analysis of an incident, from the first question to the last row: what runs as a job."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Final, Protocol, TypeVar

from actions import analyses as runs
from actions.analyses import Run
from actions.conclusions import Outcome, conclude
from actions.findings import Sightings, correlation_rows
from actions.gathering import DEADLINE_SECONDS, gather
from actions.jobs import Job
from actions.surroundings import Surroundings, survey
from db.database import Database
from db.identifiers import new_id
from domain.correlation import AnalysisStatus
from domain.errors import Conflict, NotFound
from domain.explore import Explore
from domain.tracing import span
from engines.correlation import ENGINE_VERSION, Analysis, Evidence, analyse
from engines.correlation.evidence import Gap
from engines.correlation.record import read_evidence, write
from telemetry_clients.instances import Telemetry

MOST_TOLD_EARLY: Final = 50

Answer = TypeVar("Answer")

_NO_LINKS: Final = Explore()
_WATCH_SECONDS: Final = 0.5
_NO_SERVICES: Final = "Nobody has said which services the incident hurts. Add one, and it is analysed again."
_FAILED: Final = "The analysis failed unexpectedly. The server's log says more."


def answer(evidence: Evidence) -> Analysis:
    """The engine's answer; where nobody has said which services are hurt, that there is none."""
    if evidence.services:
        return analyse(evidence)
    return Analysis(
        engine_version=ENGINE_VERSION,
        causes=(),
        ranking=(),
        findings=(),
        impacts=(),
        incident_links=(),
        confidence=0.0,
        summary=_NO_SERVICES,
        why_not="",
        gaps=evidence.gaps,
    )


class Observer(Protocol):
    """Who is told what becomes of analyses."""

    def analysis_ended(self, status: AnalysisStatus, gaps: Iterable[Gap], seconds: float) -> None:
        """An analysis is over, complete, partial or failed, after so many seconds."""
        ...

    def analysis_superseded(self, seconds: float) -> None:
        """A newer one took the place of an analysis."""
        ...

    def engine_answered(self, seconds: float) -> None:
        """The engine has answered once, to some of the evidence or to all, after so many seconds."""
        ...


class _Nobody:
    def analysis_ended(self, status: AnalysisStatus, gaps: Iterable[Gap], seconds: float) -> None:
        """Nothing."""

    def analysis_superseded(self, seconds: float) -> None:
        """Nothing."""

    def engine_answered(self, seconds: float) -> None:
        """Nothing."""


_NOBODY: Final = _Nobody()


@dataclass(frozen=True, slots=True, kw_only=True)
class Investigation:
    """Analyses incidents with everything that the backends and the records know."""

    database: Database
    telemetry: Telemetry
    now: Callable[[], datetime]
    explore: Explore = _NO_LINKS
    scrape_interval_seconds: float = 15.0
    deadline_seconds: float = DEADLINE_SECONDS
    watch_seconds: float = _WATCH_SECONDS
    observer: Observer = _NOBODY
    _engine: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)

    async def run(self, job: Job) -> None:
        """Analyse the incident that a job is about, unless a newer request takes its place meanwhile.

        Raises DomainError: Conflict when the job was lost to another server.
        """
        began_seconds = monotonic()
        run = await self.database.transact(partial(runs.begin, job=job), now=self.now())
        if run is None:
            return
        analysing = asyncio.create_task(self._analyse(run))
        watching = asyncio.create_task(self._superseded(run))
        try:
            await asyncio.wait((analysing, watching), return_when=asyncio.FIRST_COMPLETED)
            if analysing.done():
                await self._settled(run, analysing, began_seconds)
                return
            await watching
            analysing.cancel()
            await asyncio.wait((analysing,))
            await self.database.transact(partial(runs.give_way, run=run), now=self.now())
            self.observer.analysis_superseded(monotonic() - began_seconds)
        finally:
            for task in (analysing, watching):
                task.cancel()
            await asyncio.gather(analysing, watching, return_exceptions=True)

    async def _settled(self, run: Run, analysing: asyncio.Task[Outcome], began_seconds: float) -> None:
        error = analysing.exception()
        if error is None:
            outcome = analysing.result()
            self.observer.analysis_ended(outcome.status, outcome.analysis.gaps, monotonic() - began_seconds)
            return
        if not isinstance(error, Conflict | NotFound):
            await self.database.transact(partial(runs.fail, run=run, reason=_FAILED), now=self.now())
            self.observer.analysis_ended(AnalysisStatus.FAILED, (), monotonic() - began_seconds)
        raise error

    async def _superseded(self, run: Run) -> None:
        """Returns when somebody has asked anew."""
        while True:
            await asyncio.sleep(self.watch_seconds)
            async with self.database.reading() as connection:
                if await runs.is_superseded(connection, run, self.now()):
                    return

    async def _analyse(self, run: Run) -> Outcome:
        async with self.database.reading() as connection:
            around = await survey(connection, run.incident_id, now=self.now())
        evidence = around.evidence
        gathering = gather(
            self.telemetry,
            around,
            scrape_interval_seconds=self.scrape_interval_seconds,
            deadline_seconds=self.deadline_seconds,
        )
        async with aclosing(gathering):
            async for evidence, is_last in gathering:
                if not is_last:
                    analysis = await self._by_engine(partial(answer, evidence))
                    await self._tell(run, around, evidence, analysis)
        outcome = await self._by_engine(partial(self._outcome, around, evidence))
        await self.database.transact(partial(conclude, run=run, outcome=outcome), now=self.now())
        return outcome

    async def _by_engine(self, work: Callable[[], Answer]) -> Answer:
        """What takes all of a CPU, beside everything else.

        One at a time: no two threads compute at once (the interpreter's lock), and the event loop would wait for each.
        """
        async with self._engine:
            began_seconds = monotonic()
            with span("correlation engine"):
                answered = await asyncio.to_thread(work)
        self.observer.engine_answered(monotonic() - began_seconds)
        return answered

    def _outcome(self, around: Surroundings, evidence: Evidence) -> Outcome:
        """The answer to the evidence as it is kept, not as it was gathered: so that both are one for ever."""
        written = write(evidence)
        kept = read_evidence(written)
        analysis = answer(kept)
        return Outcome(around, kept, analysis, written, write(analysis), self.explore)

    async def _tell(self, run: Run, around: Surroundings, evidence: Evidence, analysis: Analysis) -> None:
        """Tell of what is found so far and was not told of."""
        fresh = [it for it in analysis.findings if it.id not in run.correlation_ids]
        fresh = fresh[: max(0, MOST_TOLD_EARLY - len(run.correlation_ids))]
        if not fresh:
            return
        ids = {finding.id: new_id() for finding in fresh}
        rows = correlation_rows(
            fresh,
            ids,
            incident_id=run.incident_id,
            analysis_id=run.id,
            services=around.ids(),
            sightings=Sightings(evidence),
            explore=self.explore,
        )
        await self.database.transact(partial(runs.tell, run=run, rows=rows), now=self.now())
        run.correlation_ids.update(ids)
