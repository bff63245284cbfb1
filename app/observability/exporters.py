"""Where the server's own spans and log lines go, as the settings have it."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from app.observability.log_records import LogRecord
from app.observability.otlp.sending import Exporter
from app.observability.otlp.trust import trust
from app.settings import Settings
from domain.tracing import Span, Tracer

log = structlog.get_logger("reliability_studio.export")

_FLUSH_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Exporters:
    """The way to the collector of spans, and to that of log lines, where there are any. Close it at the end."""

    spans: Exporter[Span] | None = None
    logs: Exporter[LogRecord] | None = None

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Start the threads that send. Connects to nothing yet. Raises CertificateError."""
        # What the SDK says about failures is said by `_tell`, and once. It says some of it when it is imported.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        traces_to, logs_to = settings.traces_endpoint(), settings.logs_endpoint()
        return cls(
            None if traces_to is None else _exporter_of_spans(settings, traces_to),
            None if logs_to is None else _exporter_of_logs(settings, logs_to),
        )

    @property
    def export_log(self) -> Callable[[LogRecord], None] | None:
        """What takes log lines."""
        return None if self.logs is None else self.logs.put

    def tracer(self, settings: Settings) -> Tracer | None:
        """Whoever begins traces, or nobody where they would go nowhere."""
        if self.spans is None:
            return None
        sampler, ratio = settings.otel_traces_sampler, settings.otel_traces_sampler_arg
        return Tracer(self.spans.put, sampler=sampler, ratio=ratio)

    def show(self, registry: CollectorRegistry) -> None:
        """Tell in a registry what was sent and what was not."""
        registry.register(_Counts(self))

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        exporters: list[Exporter[Any]] = [one for one in (self.spans, self.logs) if one is not None]
        for exporter in exporters:
            exporter.stop(within_seconds=_FLUSH_SECONDS)
        for exporter in exporters:
            exporter.join()


# OpenTelemetry's SDK is imported only where something is sent: it takes a moment, and memory.


def _exporter_of_spans(settings: Settings, endpoint: str) -> Exporter[Span]:
    from app.observability.otlp.collector import spans_to

    collector = spans_to(endpoint, headers=settings.traces_headers(), resource=settings.resource(), tls=trust(settings))
    return Exporter(collector, name="export of traces", told=partial(_tell, "traces"))


def _exporter_of_logs(settings: Settings, endpoint: str) -> Exporter[LogRecord]:
    from app.observability.otlp.collector import log_records_to

    collector = log_records_to(
        endpoint, headers=settings.logs_headers(), resource=settings.resource(), tls=trust(settings)
    )
    return Exporter(collector, name="export of logs", told=partial(_tell, "logs"))


class _Counts(Collector):
    def __init__(self, exporters: Exporters) -> None:
        self._exporters = exporters

    def collect(self) -> Iterable[Metric]:
        ways: tuple[tuple[str, Exporter[Any] | None], ...] = (
            ("spans", self._exporters.spans),
            ("log_records", self._exporters.logs),
        )
        for what, exporter in ways:
            shown = what.replace("_", " ")
            name = f"reliability_studio_{what}"
            exported, dropped = (0, 0) if exporter is None else (exporter.exported, exporter.dropped)
            yield CounterMetricFamily(f"{name}_exported", f"Own {shown} that a collector has taken.", value=exported)
            yield CounterMetricFamily(
                f"{name}_dropped", f"Own {shown} that were lost because no collector took them in time.", value=dropped
            )


def _tell(signal: str, problem: str) -> None:
    if problem:
        log.warning("the collector does not take what is sent", signal=signal, reason=problem)
    else:
        log.info("the collector takes what is sent again", signal=signal)
