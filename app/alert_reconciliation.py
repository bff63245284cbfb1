"""Asks Alertmanager and Prometheus what fires there, and lets what was missed be told."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from actions.alerts.reconciliation import (
    SeenSilence,
    SeenSuppression,
    end_unseen,
    firing_here,
    keep_silences,
    keep_suppressions,
    tell_missed,
)
from actions.jobs import Job, hold
from app.jobs import Work
from db.database import Database, Transaction
from domain.reconciliation import SeenFiring, missed, without_those_elsewhere
from domain.suppressions import LabelMatcher, SuppressionKind
from domain.time import Deadline
from domain.webhooks import alertmanager as webhook
from domain.webhooks.event_recorder import INHIBITED
from domain.webhooks.incoming import IncomingAlert
from telemetry_clients.alertmanager import Alertmanager, NotifiedAlert, Silence
from telemetry_clients.errors import TelemetryError
from telemetry_clients.instances import Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.prometheus.rules import ActiveAlert

log = structlog.get_logger("reliability_studio.alerts")

KIND: Final = "alert_reconciliation"
PROMETHEUS_SOURCE: Final = "prometheus"
_TIMEOUT_SECONDS: Final = 20.0
_JOB_SECONDS: Final = 60.0
_STARTING: Final = timedelta(minutes=5)
"""Prometheus tells Alertmanager again what fires every minute or so: one that just started does not know it all."""


@dataclass(slots=True)
class _Answers:
    """What the instances of one backend said. Complete: all of them answered, and none has just started."""

    firing: list[SeenFiring] = field(default_factory=list)
    silences: dict[str, SeenSilence] = field(default_factory=dict)
    suppressions: list[SeenSuppression] = field(default_factory=list)
    is_complete: bool = True


class Reconciliation:
    """Compares what fires here with what fires at the sources."""

    def __init__(
        self,
        database: Database,
        telemetry: Telemetry,
        *,
        now: Callable[[], datetime],
        interval_seconds: float,
        source: str,
        receiver: str | None,
        grace_seconds: float,
        starting: timedelta = _STARTING,
    ) -> None:
        """`source` is what the configured Alertmanagers, which are one, are called when they post; `receiver` a pattern
        of the receivers through which they do.
        """
        self._database = database
        self._telemetry = telemetry
        self._now = now
        self._interval_seconds = interval_seconds
        self._source = source
        self._receiver = receiver
        self._grace = timedelta(seconds=grace_seconds)
        self._starting = starting

    @property
    def work(self) -> Work:
        """How often and how long it is done."""
        return Work(run=self.run, timeout_seconds=_JOB_SECONDS, every_seconds=self._interval_seconds)

    async def run(self, job: Job | None = None) -> None:
        """Ask everybody once. Raises TelemetryError when somebody did not answer, after all else is done."""
        at = self._now()
        alertmanager, prometheus = _Answers(), _Answers()
        asked = [self._ask_alertmanager(client, alertmanager, at) for _, client in self._telemetry.alertmanager]
        asked += [_ask_prometheus(client, prometheus, at) for _, client in self._telemetry.prometheus]
        failures = [it for it in await asyncio.gather(*asked, return_exceptions=True) if it is not None]
        for failure in failures:
            if not isinstance(failure, TelemetryError):
                raise failure
        work = partial(self._compare, job=job, at=at, alertmanager=alertmanager, prometheus=prometheus)
        found = await self._database.transact(work, now=self._now())
        if found:
            log.warning("alerts were found that nobody had told of", alerts=found)
        if failures:
            raise failures[0]

    async def _compare(
        self, tx: Transaction, *, job: Job | None, at: datetime, alertmanager: _Answers, prometheus: _Answers
    ) -> int:
        if job is not None:
            await hold(tx, job)
        if self._telemetry.alertmanager:
            await keep_silences(tx, alertmanager.silences.values())
        known = await firing_here(tx)
        if known is None:
            return 0
        here, ids = known
        found: dict[str, list[IncomingAlert]] = {}
        if self._telemetry.alertmanager:
            ours = [firing for firing in here if firing.source == self._source]
            found[self._source] = missed(
                alertmanager.firing, ours, at=at, grace=self._grace, is_complete=alertmanager.is_complete
            )
            await keep_suppressions(tx, self._source, alertmanager.suppressions, ids)
            if alertmanager.is_complete:
                await end_unseen(tx, self._source, alertmanager.suppressions)
        if self._telemetry.prometheus:
            others = [firing.alert.labels for firing in here if firing.source != PROMETHEUS_SOURCE]
            others += [firing.alert.labels for firing in alertmanager.firing]
            lonely = without_those_elsewhere(prometheus.firing, others)
            ours = [firing for firing in here if firing.source == PROMETHEUS_SOURCE]
            # Without Alertmanager's answer nobody knows what it is about to tell.
            if alertmanager.is_complete:
                found[PROMETHEUS_SOURCE] = missed(
                    lonely, ours, at=at, grace=self._grace, is_complete=prometheus.is_complete
                )
        return await tell_missed(tx, found)

    async def _ask_alertmanager(self, client: Alertmanager, answers: _Answers, at: datetime) -> None:
        deadline = Deadline.after(_TIMEOUT_SECONDS)
        try:
            status = await client.status(deadline=deadline)
            alerts = await client.alerts(receiver=self._receiver, deadline=deadline)
            silences = await client.silences(deadline=deadline)
        except TelemetryError:
            answers.is_complete = False
            raise
        if at - status.started_at < self._starting:
            answers.is_complete = False
        seen = {silence.id: _silence(silence) for silence in silences}
        answers.silences |= seen
        for alert in alerts:
            answers.firing += _seen(alert, at)
            answers.suppressions += _suppressions(alert, answers.silences, at)


async def _ask_prometheus(client: Prometheus, answers: _Answers, at: datetime) -> None:
    try:
        alerts = await client.alerts(deadline=Deadline.after(_TIMEOUT_SECONDS))
    except TelemetryError:
        answers.is_complete = False
        raise
    answers.firing += [it for alert in alerts if alert.state == "firing" for it in _seen_by_prometheus(alert, at)]


def _seen(alert: NotifiedAlert, at: datetime) -> list[SeenFiring]:
    """An alert of Alertmanager's, as its webhook would tell it. It never tells of what is inhibited or muted."""
    more = {"generatorURL": alert.generator_url, "fingerprint": alert.fingerprint}
    is_told = not alert.inhibited_by and not alert.muted_by
    return _as_told(alert.labels, alert.annotations, alert.starts_at, more, at, is_told=is_told)


def _seen_by_prometheus(alert: ActiveAlert, at: datetime) -> list[SeenFiring]:
    return _as_told(alert.labels, alert.annotations, alert.active_at, {}, at, is_told=True)


def _as_told(
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    since: datetime,
    more: Mapping[str, str],
    at: datetime,
    *,
    is_told: bool,
) -> list[SeenFiring]:
    told = {"status": "firing", "labels": {**labels}, "annotations": {**annotations}, "startsAt": since.isoformat()}
    [read] = webhook.read({"alerts": [{**told, **more}]}, received_at=at).alerts
    return [SeenFiring(read, since, is_told)] if isinstance(read, IncomingAlert) else []


def _silence(silence: Silence) -> SeenSilence:
    return SeenSilence(
        id=silence.id,
        matchers=tuple(
            LabelMatcher(matcher.name, matcher.value, matcher.is_regex, matcher.is_equal)
            for matcher in silence.matchers
        ),
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        created_by=silence.created_by,
        comment=silence.comment,
    )


def _suppressions(alert: NotifiedAlert, silences: dict[str, SeenSilence], at: datetime) -> list[SeenSuppression]:
    """By what Alertmanager says that it tells nobody of an alert."""
    found = []
    for id in alert.silenced_by:
        silence = silences.get(id)
        found.append(
            SeenSuppression(
                fingerprint=alert.fingerprint,
                kind=SuppressionKind.SILENCE,
                by=id,
                reason="" if silence is None else silence.comment,
                starts_at=at if silence is None else silence.starts_at,
                ends_at=None if silence is None else silence.ends_at,
            )
        )
    for kind, by in (
        *((SuppressionKind.INHIBITION, by) for by in alert.inhibited_by),
        *((SuppressionKind.MUTE, by) for by in alert.muted_by),
    ):
        reason = INHIBITED if kind is SuppressionKind.INHIBITION else "Alertmanager's times"
        found.append(
            SeenSuppression(fingerprint=alert.fingerprint, kind=kind, by=by, reason=reason, starts_at=alert.starts_at)
        )
    return found
