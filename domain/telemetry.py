"""Words for other people's data: metrics, logs and traces."""

import re
from enum import StrEnum
from typing import Final

DEFAULT_INSTANCE: Final = "default"
"""The instance of a backend that is asked about services that name none."""

INSTANCE_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
"""How the instances of a backend may be called."""


class TelemetryBackend(StrEnum):
    """Where telemetry is asked for."""

    PROMETHEUS = "PROMETHEUS"
    LOKI = "LOKI"
    TEMPO = "TEMPO"


class PrometheusResultKind(StrEnum):
    """What a PromQL expression gives."""

    VECTOR = "VECTOR"
    MATRIX = "MATRIX"
    SCALAR = "SCALAR"
    STRING = "STRING"


class SilenceState(StrEnum):
    """Whether a silence holds."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"


class GoldenSignal(StrEnum):
    """What is watched of every service (Google SRE book, chapter 6: latency, traffic, errors, saturation)."""

    REQUEST_RATE = "REQUEST_RATE"
    ERROR_RATIO = "ERROR_RATIO"
    LATENCY_P50 = "LATENCY_P50"
    LATENCY_P95 = "LATENCY_P95"
    LATENCY_P99 = "LATENCY_P99"
    SATURATION = "SATURATION"

    @property
    def unit(self) -> str:
        """The unit as UCUM writes it: `1/s` requests a second, `1` a ratio, `s` seconds."""
        return _UNITS[self]


_UNITS = {
    GoldenSignal.REQUEST_RATE: "1/s",
    GoldenSignal.ERROR_RATIO: "1",
    GoldenSignal.LATENCY_P50: "s",
    GoldenSignal.LATENCY_P95: "s",
    GoldenSignal.LATENCY_P99: "s",
    GoldenSignal.SATURATION: "1",
}


class LogLevel(StrEnum):
    """How bad a line of a log says it is, from the least to the worst (OpenTelemetry's severities, log data model)."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"
