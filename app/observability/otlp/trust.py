"""Whom the server trusts at a collector, and who it is there."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from app.certificate import CertificateError
from app.observability_settings import ObservabilityVariables


def trust(settings: ObservabilityVariables) -> ssl.SSLContext:
    """The authorities that the settings name, or whom the system trusts; and our certificate, if any.

    Raises CertificateError, which names the setting.
    """
    authorities = settings.otel_exporter_otlp_certificate
    with _reading("OTEL_EXPORTER_OTLP_CERTIFICATE", authorities):
        context = ssl.create_default_context(cafile=authorities)
    certificate, key = settings.otel_exporter_otlp_client_certificate, settings.otel_exporter_otlp_client_key
    if certificate is not None:
        with _reading("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate):
            # A key with a password would be asked for on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
    return context


@contextmanager
def _reading(setting: str, file: Path | None) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
        raise CertificateError(
            f"{setting} {file} cannot be used ({str(why or error).replace('_', ' ').lower()}). "
            "Give certificates in PEM, and a key without a password."
        ) from error
