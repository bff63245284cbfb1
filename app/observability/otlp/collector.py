"""One attempt after another to give a batch to a collector: OpenTelemetry's own exporters, and how they reach it.

Whatever they would take from the environment (headers, certificates, proxies, compression) is decided here instead, and
so are deadlines: theirs cannot be cut short when the process ends.
"""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import Timeout

from app.observability.log_records import LogRecord
from app.observability.otlp import log_records, spans
from app.observability.otlp.sending import Answer
from domain.tracing import Span

Item = TypeVar("Item")

# Shorter than the first pause of the SDK's exporters, so that they make none: nothing could end those early.
_RETRYING_SECONDS: Final = 0.5
_SHORTEST_SECONDS: Final = 0.001
_PASSING: Final = frozenset({429, 502, 503, 504})  # What OTLP's specification lets clients try again.
_KEPT_HEADERS: Final = frozenset({"content-length", "user-agent"})
_CONTENT: Final = {"Content-Type": "application/x-protobuf", "Content-Encoding": Compression.Gzip.value}


def spans_to(
    endpoint: str, *, headers: Mapping[str, str], resource: Mapping[str, str], tls: ssl.SSLContext
) -> "Collector[Span]":
    """The way of spans to the collector at `endpoint`, whom `tls` has to trust where it is https."""
    return Collector(endpoint, OTLPSpanExporter, spans.converter(resource), headers=headers, tls=tls)


def log_records_to(
    endpoint: str, *, headers: Mapping[str, str], resource: Mapping[str, str], tls: ssl.SSLContext
) -> "Collector[LogRecord]":
    """The way of log lines to the collector at `endpoint`, whom `tls` has to trust where it is https."""
    return Collector(endpoint, OTLPLogExporter, log_records.converter(resource), headers=headers, tls=tls)


class Collector(Generic[Item]):
    """One signal's collector. Implements the Sink of `sending`, for one thread."""

    def __init__(
        self,
        endpoint: str,
        exporter: Callable[..., Any],
        convert: Callable[[Item], Any],
        *,
        headers: Mapping[str, str],
        tls: ssl.SSLContext,
    ) -> None:
        """`exporter` makes the SDK's exporter, which gets what `convert` makes of items. Connects to nothing yet."""
        self._convert = convert
        self._adapter = _Adapter(headers, tls)
        session = requests.Session()
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, self._adapter)
        self._exporter = exporter(
            endpoint=endpoint,
            headers=dict(headers),
            timeout=_RETRYING_SECONDS,
            compression=Compression.Gzip,
            session=session,
            meter_provider=NoOpMeterProvider(),
        )

    def prepare(self, batch: Sequence[Item]) -> Callable[[float], Answer]:
        """See `Sink`."""
        converted = [self._convert(item) for item in batch]

        def attempt(timeout_seconds: float) -> Answer:
            self._adapter.ends_at = time.monotonic() + timeout_seconds
            self._adapter.answer = Answer("what it was to get cannot be written")  # Unless it is sent.
            self._exporter.export(converted)
            return self._adapter.answer

        return attempt

    def close(self) -> None:
        """See `Sink`."""
        self._exporter.shutdown()


class _Adapter(HTTPAdapter):
    """Sends what the SDK's exporter gives it with our headers, trust and deadlines, and keeps what was answered."""

    def __init__(self, headers: Mapping[str, str], tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(max_retries=0)
        self._headers = headers
        self.ends_at = 0.0
        self.answer = Answer()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Trust whom we were told to trust."""
        super().init_poolmanager(*arguments, **options, ssl_context=self._tls)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Trust nobody else."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Make one request. Whatever else is passed was read from the environment, or is too patient."""
        kept = {name: value for name, value in request.headers.items() if name.lower() in _KEPT_HEADERS}
        request.headers = CaseInsensitiveDict({**kept, **_CONTENT, **self._headers})
        limit = Timeout(total=max(self.ends_at - time.monotonic(), _SHORTEST_SECONDS))
        try:
            response = super().send(request, timeout=limit)  # type: ignore[arg-type]  # it takes those of urllib3 too
            response.content  # noqa: B018  # it is read here, where failing is noticed
        except (requests.RequestException, OSError) as error:
            self.answer = Answer(f"it cannot be reached: {type(_innermost(error)).__name__}", is_passing=True)
            raise
        status = response.status_code
        self.answer = (
            Answer() if 200 <= status < 300 else Answer(f"it answered HTTP {status}", is_passing=status in _PASSING)
        )
        return response


def _innermost(error: BaseException) -> BaseException:
    """What an error was caused by in the end."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
