"""What can go wrong between us and a telemetry backend.

    TelemetryError
    ├── TelemetryUnavailable     TELEMETRY_UNAVAILABLE      refuses, resets, cannot be found, or answers 5xx
    ├── TelemetryTimeout         TELEMETRY_TIMEOUT          no whole answer before the deadline
    ├── TelemetryBadResponse     TELEMETRY_BAD_RESPONSE     an answer, but not one of its API: HTML, cut off, misshapen
    ├── TelemetryNotConfigured   TELEMETRY_NOT_CONFIGURED   nobody said where it is, or with which credentials
    ├── TelemetryBadQuery        TELEMETRY_BAD_QUERY        the question itself is wrong, in the backend's own words
    └── TelemetryLimited         TELEMETRY_LIMITED          more than the backend, or we, will do at once

The messages are written for the caller: what happened, to what, and what to do. They hold the address of the backend
and never credentials.
"""

from typing import ClassVar


class TelemetryError(Exception):
    """A telemetry backend was not able to answer. `code` is stable; `backend` is its name, as in "Prometheus"."""

    code: ClassVar[str]

    def __init__(self, backend: str, message: str) -> None:
        super().__init__(message)
        self.backend = backend
        self.message = message


class TelemetryUnavailable(TelemetryError):
    """The backend cannot be reached, or says itself that it cannot serve. Trying again later is right."""

    code = "TELEMETRY_UNAVAILABLE"


class TelemetryTimeout(TelemetryError):
    """The whole answer did not arrive in time."""

    code = "TELEMETRY_TIMEOUT"


class TelemetryBadResponse(TelemetryError):
    """What answered does not speak the backend's API."""

    code = "TELEMETRY_BAD_RESPONSE"


class TelemetryNotConfigured(TelemetryError):
    """The backend's address or credentials are missing or wrong; an operator has to set them."""

    code = "TELEMETRY_NOT_CONFIGURED"


class TelemetryBadQuery(TelemetryError):
    """The query, its range or its step is wrong; the same question will fail again.

    `line` and `column` count from 1 and say where in the query, if the backend does.
    """

    code = "TELEMETRY_BAD_QUERY"

    def __init__(self, backend: str, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(backend, message)
        self.line = line
        self.column = column


class TelemetryLimited(TelemetryError):
    """Too much: too large an answer, too many points, too many calls. A smaller question may work."""

    code = "TELEMETRY_LIMITED"
