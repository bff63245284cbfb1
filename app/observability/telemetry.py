"""What becomes of calls to telemetry backends, in metrics and logs."""

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from domain.health import CircuitState

log = structlog.get_logger("reliability_studio.telemetry")

_BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
_WHICH = ("backend", "instance")


class TelemetryObserver:
    """Counts calls in a registry, and logs what an operator has to know. Implements telemetry_clients' Observer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Histogram(
            "telemetry_call_duration_seconds",
            "Time from a call to a telemetry backend to the end of its answer, retries and waiting included. "
            "The outcome is OK, NOT_FOUND, CANCELLED, or the code of the error.",
            (*_WHICH, "outcome"),
            buckets=_BOUNDS_SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "telemetry_calls_in_flight", "Calls that are under way or wait for a connection.", _WHICH, registry=registry
        )
        self._retries = Counter("telemetry_call_retries", "Attempts after one that failed.", _WHICH, registry=registry)
        self._coalesced = Counter(
            "telemetry_calls_coalesced", "Questions answered by the same call as another.", _WHICH, registry=registry
        )
        self._cache_hits = Counter(
            "telemetry_cache_hits", "Questions answered by what was kept.", _WHICH, registry=registry
        )
        self._circuit = Gauge(
            "telemetry_circuit_breaker_state",
            "1 for the state that the circuit breaker is in, 0 for the others.",
            (*_WHICH, "state"),
            registry=registry,
        )

    def opened(self, backend: str, instance: str) -> None:
        """Show the instance from the start, before anything happens."""
        self._in_flight.labels(backend, instance)
        for counter in (self._retries, self._coalesced, self._cache_hits):
            counter.labels(backend, instance)
        self._show_circuit(backend, instance, CircuitState.CLOSED)

    def call_started(self, backend: str, instance: str) -> None:
        """Count a call as under way."""
        self._in_flight.labels(backend, instance).inc()

    def call_ended(self, backend: str, instance: str, outcome: str, seconds: float) -> None:
        """Count a call as over."""
        self._in_flight.labels(backend, instance).dec()
        self._durations.labels(backend, instance, outcome).observe(seconds)

    def call_retried(self, backend: str, instance: str) -> None:
        """Count a retry."""
        self._retries.labels(backend, instance).inc()

    def call_coalesced(self, backend: str, instance: str) -> None:
        """Count a question that joined a call."""
        self._coalesced.labels(backend, instance).inc()

    def cache_answered(self, backend: str, instance: str) -> None:
        """Count a question that needed no call."""
        self._cache_hits.labels(backend, instance).inc()

    def circuit_changed(self, backend: str, instance: str, state: CircuitState, reason: str) -> None:
        """Show and log the state of a circuit breaker."""
        self._show_circuit(backend, instance, state)
        write = log.warning if state is CircuitState.OPEN else log.info
        write("circuit breaker changed", backend=backend, instance=instance, state=state.lower(), reason=reason)

    def warned(self, backend: str, instance: str, message: str) -> None:
        """Log a dangerous configuration."""
        log.warning("telemetry is configured dangerously", backend=backend, instance=instance, message=message)

    def _show_circuit(self, backend: str, instance: str, state: CircuitState) -> None:
        for one in CircuitState:
            self._circuit.labels(backend, instance, one.lower()).set(one is state)
