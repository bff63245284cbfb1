"""Where the server's own traces and logs go, under the names that OpenTelemetry gives these settings."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from app.setting import HTTP_URL, HTTPURL, comma_separated, lower, setting
from app.version import VERSION


class Sampler(StrEnum):
    """Which traces are recorded."""

    ALWAYS_ON = "always_on"
    ALWAYS_OFF = "always_off"
    TRACE_ID_RATIO = "traceidratio"
    PARENT_BASED_ALWAYS_ON = "parentbased_always_on"
    PARENT_BASED_ALWAYS_OFF = "parentbased_always_off"
    PARENT_BASED_TRACE_ID_RATIO = "parentbased_traceidratio"


def read_pairs(text: str) -> dict[str, str]:
    """What `name=value,name=value` says, values percent-decoded. Raises ValueError."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = part.partition("=")
        if not separator or not name.strip():
            raise ValueError("it is not written as name=value,name=value")
        found[name.strip()] = unquote(value.strip())
    return found


def _pairs(value: SecretStr) -> SecretStr:
    read_pairs(value.get_secret_value())
    return value


def _attributes(value: str) -> str:
    read_pairs(value)
    return value


Pairs = Annotated[SecretStr, AfterValidator(_pairs)]
PAIRS = "`name=value,name=value`, values percent-encoded"


class ObservabilityVariables(BaseSettings):
    """The settings of the server's own metrics, traces and logs."""

    otel_exporter_otlp_endpoint: HTTPURL | None = setting(
        None,
        "Collector of the server's own traces and logs, by OTLP over HTTP: they go to `/v1/traces` and `/v1/logs` "
        "below it. Without an endpoint nothing is sent.",
        HTTP_URL,
    )
    otel_exporter_otlp_traces_endpoint: HTTPURL | None = setting(
        None, "Where traces go instead, the whole URL: `http://tempo:4318/v1/traces`.", HTTP_URL
    )
    otel_exporter_otlp_logs_endpoint: HTTPURL | None = setting(
        None, "Where logs go instead, the whole URL: `http://loki:3100/otlp/v1/logs`.", HTTP_URL
    )
    otel_exporter_otlp_headers: Pairs | None = setting(None, "Headers of what is sent, such as `Authorization`.", PAIRS)
    otel_exporter_otlp_traces_headers: Pairs | None = setting(None, "More headers for traces.", PAIRS)
    otel_exporter_otlp_logs_headers: Pairs | None = setting(
        None, "More headers for logs, such as Loki's `X-Scope-OrgID`.", PAIRS
    )
    otel_exporter_otlp_certificate: Path | None = setting(
        None, "The authorities to trust at the collector, instead of the machine's.", "a path to a PEM file"
    )
    otel_exporter_otlp_client_certificate: Path | None = setting(
        None, "Our client certificate for the collector.", "a path to a PEM file"
    )
    otel_exporter_otlp_client_key: Path | None = setting(
        None, "Its key, where that is in another file.", "a path to a PEM file without a password"
    )
    otel_traces_sampler: Annotated[Sampler, BeforeValidator(lower)] = setting(
        Sampler.PARENT_BASED_TRACE_ID_RATIO,
        "Which traces are recorded. `parentbased_...` follows whoever asks and says so in `traceparent`.",
        ", ".join(map(str, Sampler)),
    )
    otel_traces_sampler_arg: float = setting(
        0.05, "The share of traces that the samplers with `ratio` record.", "0 to 1", ge=0, le=1
    )
    otel_service_name: str = setting("reliability-studio", "What this server is called in its traces and logs.", "text")
    otel_resource_attributes: Annotated[str, AfterValidator(_attributes)] = setting(
        "", "What else is said of it, such as `deployment.environment.name=production`.", PAIRS
    )
    metrics_operation_names: Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)] = setting(
        (),
        "Names of GraphQL operations that metrics tell apart, separated by commas, beside those of trusted documents; "
        "all others count as `other`.",
        "up to 200 names",
        max_length=200,
    )

    def traces_endpoint(self) -> str | None:
        """The whole URL that traces are posted to."""
        return self.otel_exporter_otlp_traces_endpoint or self._below("v1/traces")

    def logs_endpoint(self) -> str | None:
        """The whole URL that logs are posted to."""
        return self.otel_exporter_otlp_logs_endpoint or self._below("v1/logs")

    def traces_headers(self) -> Mapping[str, str]:
        """What is sent with traces."""
        return _headers(self.otel_exporter_otlp_headers, self.otel_exporter_otlp_traces_headers)

    def logs_headers(self) -> Mapping[str, str]:
        """What is sent with logs."""
        return _headers(self.otel_exporter_otlp_headers, self.otel_exporter_otlp_logs_headers)

    def resource(self) -> Mapping[str, str]:
        """What is said of this server (OpenTelemetry's resource attributes)."""
        return {
            "service.version": VERSION,
            **read_pairs(self.otel_resource_attributes),
            "service.name": self.otel_service_name,
        }

    def observability_problems(self) -> Iterable[str]:
        """What does not fit together."""
        if self.otel_exporter_otlp_client_key is not None and self.otel_exporter_otlp_client_certificate is None:
            yield (
                "OTEL_EXPORTER_OTLP_CLIENT_KEY is set, but OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is not. "
                "Set both or neither."
            )

    def _below(self, path: str) -> str | None:
        endpoint = self.otel_exporter_otlp_endpoint
        return None if endpoint is None else f"{endpoint}/{path}"


def _headers(*given: SecretStr | None) -> dict[str, str]:
    return {
        name: value for one in given if one is not None for name, value in read_pairs(one.get_secret_value()).items()
    }
