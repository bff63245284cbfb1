"""Where a backend is, and how it is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from telemetry_clients.transport.circuit_breaker import CircuitBreakerPolicy
from telemetry_clients.transport.retries import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class TLS:
    """Whom we trust, and who we are. Without `ca_file`: the usual authorities and those that the machine trusts.

    `server_name` is the name that the server's certificate is checked for, instead of the URL's host.
    `insecure_skip_verify` trusts everybody: whoever sits in between can read and change everything.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where one instance of a backend is, how we prove who we are, and how much of it we use.

    `url` may have a path prefix (`https://metrics.example/prometheus`) and credentials (`https://user:password@...`),
    which become basic authentication. Passwords and tokens may come from files, which are read again when they change.
    `tenant` is sent as `X-Scope-OrgID`. `timeout_seconds` is the longest that any call may take, and
    `read_timeout_seconds` the longest silence within an answer; the call's deadline bounds the whole.
    `max_response_bytes` counts after decompression. Cacheable answers are kept for `cache_ttl_seconds`, 0 for not at
    all, and no more than `cache_max_bytes` of them.
    """

    backend: str
    url: str = field(repr=False)
    instance: str = "default"
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    password_file: tuple[str, Path] | None = None
    bearer_token: str | None = field(default=None, repr=False)
    bearer_token_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tenant: str | None = None
    tls: TLS = field(default_factory=TLS)
    connect_timeout_seconds: float = 2.0
    read_timeout_seconds: float = 10.0
    timeout_seconds: float | None = None
    max_connections: int = 20
    max_waiting_calls: int = 100
    max_response_bytes: int = 16 * 1024 * 1024
    cache_ttl_seconds: float = 0.0
    cache_max_bytes: int = 32 * 1024 * 1024
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    circuit_breaker: CircuitBreakerPolicy = field(default_factory=CircuitBreakerPolicy)
