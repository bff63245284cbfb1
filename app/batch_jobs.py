"""What our own batch jobs leave at the Pushgateway: how long they took, and when they last succeeded.

Nobody can scrape a command that ends within seconds. When the last success was is what one alerts on; it stays where
it is when the command fails. A Pushgateway that does not take the metrics is worth a warning and nothing more.
"""

import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Gauge
from rich.markup import escape

from app.backend_settings import Backend
from app.backends import open_transport
from app.clock import now
from app.settings import Settings
from app.terminal import console
from domain.time import Deadline
from telemetry_clients.errors import TelemetryError
from telemetry_clients.pushgateway import Pushgateway

Result = TypeVar("Result")

JOB = "reliability-studio"
_PUSH_SECONDS = 5.0


async def reported(
    settings: Settings, command: str, work: Coroutine[Any, Any, Result], *, clock: Callable[[], datetime] = now
) -> Result:
    """Do the work of a command, and tell each configured Pushgateway how it went. Raises what the work raises."""
    started = time.monotonic()
    succeeded = False
    try:
        result = await work
        succeeded = True
    finally:
        await _push(settings, command, measured(time.monotonic() - started, clock(), succeeded=succeeded))
    return result


def measured(duration_seconds: float, at: datetime, *, succeeded: bool) -> CollectorRegistry:
    """The metrics of a batch job that has ended."""
    registry = CollectorRegistry()

    def gauge(name: str, help: str, value: float) -> None:
        Gauge(name, help, namespace="reliability_studio", subsystem="job", registry=registry).set(value)

    gauge("duration_seconds", "How long the last run took.", duration_seconds)
    gauge("last_completion_timestamp_seconds", "When the last run ended, however it did.", at.timestamp())
    gauge("last_run_succeeded", "1 where the last run succeeded, 0 where it failed.", succeeded)
    if succeeded:
        gauge("last_success_timestamp_seconds", "When a run last succeeded.", at.timestamp())
    return registry


async def _push(settings: Settings, command: str, registry: CollectorRegistry) -> None:
    for instance in settings.backends(Backend.PUSHGATEWAY):
        try:
            async with open_transport(settings, Backend.PUSHGATEWAY, instance) as transport:
                await Pushgateway(transport).push(
                    registry, job=JOB, grouping={"command": command}, deadline=Deadline.after(_PUSH_SECONDS)
                )
        except TelemetryError as error:
            console.print(f"[yellow]Warning:[/] the metrics of this run were not pushed. {escape(error.message)}")
