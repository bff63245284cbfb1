"""How every telemetry backend is reached: one bounded, deadlined HTTP client with all that keeps a bad day small.

A call's way: `transport.py` (may it be asked at all, who asks the same already, is the answer known) → `retries.py` and
`circuit_breaker.py` → `http.py`, the only module that knows httpx → `answer.py`.
"""

from telemetry_clients.transport.answer import Answer
from telemetry_clients.transport.call import Parameters
from telemetry_clients.transport.circuit_breaker import CircuitBreakerPolicy
from telemetry_clients.transport.credentials import without_credentials
from telemetry_clients.transport.endpoint import TLS, Endpoint
from telemetry_clients.transport.http import WebSocketTarget
from telemetry_clients.transport.observer import Observer
from telemetry_clients.transport.retries import RetryPolicy
from telemetry_clients.transport.transport import Transport

__all__ = [
    "TLS",
    "Answer",
    "CircuitBreakerPolicy",
    "Endpoint",
    "Observer",
    "Parameters",
    "RetryPolicy",
    "Transport",
    "WebSocketTarget",
    "without_credentials",
]
