"""A job: evaluates the rules of the built-in detection."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Final
from uuid import UUID

import numpy as np
import structlog

from actions.detect import Seen, StoredRule, enabled_rules, end_orphans, record_evaluation, states_of
from actions.detection_history import History
from actions.detection_questions import Measured, Measuring, WatchedService, grid_until, watched_services
from actions.detection_slos import slo_burns, with_slo_burns
from actions.jobs import Job
from app.detection_logs import LogNovelty
from app.jobs import Work
from app.observability.detection import DetectionMetrics
from db.database import Database, Transaction
from domain.alerts import DetectionKind
from domain.detection import Rule
from domain.errors import Conflict, DomainError
from domain.time import Deadline
from engines.detection.judging import Frame, judge
from engines.detection.lifecycle import Observation, State
from engines.detection.replay import RECENT_SECONDS, Grid, frame_at, observations
from engines.detection.statistics import Floats
from telemetry_clients.errors import TelemetryError
from telemetry_clients.instances import Telemetry

log = structlog.get_logger("reliability_studio.detection")

KIND: Final = "detection"

_RULE_SECONDS: Final = 20.0
_TIMEOUT_SECONDS: Final = 300.0
_RULES_AT_ONCE: Final = 4
_RECENT_STEP_SECONDS: Final = 120.0
_CHANGE_POINTS: Final = 12
_ORPHANED_AFTER: Final = timedelta(minutes=2)


class Detection:
    """Evaluates every enabled rule for all services, each with one query; a rule that fails stops no other."""

    def __init__(
        self,
        database: Database,
        telemetry: Telemetry,
        *,
        now: Callable[[], datetime],
        interval_seconds: float,
        metrics: DetectionMetrics | None = None,
    ) -> None:
        self._metrics = metrics
        self._database = database
        self._measuring = Measuring(telemetry)
        self._history = History(self._measuring)
        self._novelty = LogNovelty(database, telemetry)
        self._now = now
        self._interval_seconds = interval_seconds

    @property
    def work(self) -> Work:
        """How often and how long it is done."""
        return Work(run=self.evaluate, timeout_seconds=_TIMEOUT_SECONDS, every_seconds=self._interval_seconds)

    async def evaluate(self, job: Job) -> None:
        """Evaluate all rules once. Raises Conflict when the job was lost, DatabaseUnavailable."""
        at = self._now()
        # First, when what the last time told has been worked off.
        await self._database.transact(partial(end_orphans, job=job, before=at - _ORPHANED_AFTER), now=at)
        rules, catalog = await self._database.transact(_rules_and_services, now=at)
        turn = asyncio.Semaphore(_RULES_AT_ONCE)

        async def one(stored: StoredRule) -> None:
            async with turn:
                await self._evaluate_one(job, stored, catalog, at)

        outcomes = await asyncio.gather(*map(one, rules), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _evaluate_one(
        self, job: Job, stored: StoredRule, catalog: Sequence[WatchedService], at: datetime
    ) -> None:
        began_seconds = perf_counter()
        watched = [each for each in catalog if stored.service_id in (None, each.id)]
        seen, error = await self._seen(stored, watched, at)
        record = partial(record_evaluation, job=job, stored=stored, seen=seen, error=error)
        evaluation = await self._database.transact(record, now=at)
        if self._metrics is not None:
            self._metrics.rule_evaluated(perf_counter() - began_seconds, failed=error is not None)
        if error is not None:
            log.warning("a detection rule could not be evaluated", rule=stored.name, reason=error)
        if evaluation.fired or evaluation.ended:
            log.info("detection", rule=stored.name, fired=evaluation.fired, ended=evaluation.ended)

    async def _seen(
        self, stored: StoredRule, watched: Sequence[WatchedService], at: datetime
    ) -> tuple[list[Seen], str | None]:
        """What the rule says of each service, and why it could not say so of some, or of any."""
        if stored.rule is None:
            return _nothing(watched, stored.problem or "It makes no sense"), stored.problem
        if not watched:
            return [], None
        try:
            async with asyncio.timeout(_RULE_SECONDS):
                return await self._judged(stored.id, stored.rule, watched, at)
        except (TelemetryError, DomainError) as error:
            if isinstance(error, Conflict):
                raise
            return _nothing(watched, error.message), error.message
        except TimeoutError:
            message = f"It took longer than {_RULE_SECONDS:g} s"
            return _nothing(watched, message), message
        except Exception as error:  # a rule that breaks in a new way must not stop the others
            log.error("a detection rule failed unexpectedly", rule=stored.name, exc_info=error)
            message = f"Unexpectedly: {type(error).__name__}, see the log"
            return _nothing(watched, message), message

    async def _judged(
        self, rule_id: UUID, rule: Rule, watched: Sequence[WatchedService], at: datetime
    ) -> tuple[list[Seen], str | None]:
        deadline = Deadline.after(_RULE_SECONDS)
        if rule.kind is DetectionKind.LOG_NOVELTY:
            return await self._judged_logs(rule_id, rule, watched, at, deadline)
        grid = _grid(rule, at)
        measured = await self._measured(rule, watched, grid, at, deadline)
        kept = None
        earlier = None
        if rule.kind is DetectionKind.SEASONAL:
            earlier = await self._history.earlier(rule_id, rule, watched, at, deadline=deadline)
            states = await self._database.transact(partial(states_of, rule_id=rule_id), now=at)
            kept = _kept(watched, states)
        frame = frame_at(rule, grid, measured.values, measured.requests, grid.count - 1, kept, earlier)
        judgement = await asyncio.to_thread(judge, rule, frame)
        return _seen_of(measured, observations(judgement)), _first_failure(measured)

    async def _measured(
        self, rule: Rule, watched: Sequence[WatchedService], grid: Grid, at: datetime, deadline: Deadline
    ) -> Measured:
        if rule.kind is not DetectionKind.SLO_BURN or rule.query is not None:
            return await self._measuring.measure(rule, watched, grid, deadline=deadline)
        burns = await self._database.transact(partial(slo_burns, rule=rule, at=at), now=at)
        others = [each for each in watched if each.id not in burns]
        measured = await self._measuring.measure(rule, others, grid, deadline=deadline) if others else None
        return with_slo_burns(watched, measured, burns)

    async def _judged_logs(
        self, rule_id: UUID, rule: Rule, watched: Sequence[WatchedService], at: datetime, deadline: Deadline
    ) -> tuple[list[Seen], str | None]:
        found = await self._novelty.novelties(rule_id, rule, watched, at, deadline=deadline)
        seen = observations(judge(rule, Frame(found.counts)))
        error = next((failure.message for failure in found.failures.values()), None)
        return [
            Seen(service, None, failure.message)
            if (failure := found.failures.get(service.id)) is not None
            else Seen(service, observation, detail=found.samples.get(service.id), learnt=found.learnt.get(service.id))
            for service, observation in zip(watched, seen, strict=True)
        ], error


async def _rules_and_services(tx: Transaction) -> tuple[list[StoredRule], list[WatchedService]]:
    return await enabled_rules(tx), await watched_services(tx)


def _grid(rule: Rule, at: datetime) -> Grid:
    """The moments that the rule looks at, the last of them now."""
    match rule.kind:
        case DetectionKind.SEASONAL:
            return grid_until(at, seconds=RECENT_SECONDS, step=_RECENT_STEP_SECONDS)
        case DetectionKind.RATE_OF_CHANGE:
            over = rule.parameters.over_seconds
            return grid_until(at, seconds=over, step=over / _CHANGE_POINTS)
        case _:
            return grid_until(at)


def _kept(watched: Sequence[WatchedService], states: Mapping[UUID, State]) -> Floats:
    kept = np.full((len(watched), 2), np.nan)
    for index, service in enumerate(watched):
        if (state := states.get(service.id)) is not None and state.baseline is not None:
            kept[index] = state.baseline
    return kept


def _seen_of(measured: Measured, seen: Sequence[Observation]) -> list[Seen]:
    return [
        Seen(service, None, failure.message)
        if (failure := measured.failures.get(service.id)) is not None
        else Seen(service, observation)
        for service, observation in zip(measured.services, seen, strict=True)
    ]


def _first_failure(measured: Measured) -> str | None:
    return next((failure.message for failure in measured.failures.values()), None)


def _nothing(watched: Sequence[WatchedService], error: str) -> list[Seen]:
    return [Seen(service, None, error) for service in watched]
