"""TLS as an endpoint wants it: whom to trust, and with which certificate of our own."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from telemetry_clients.errors import TelemetryNotConfigured
from telemetry_clients.transport.endpoint import Endpoint


def tls_context(endpoint: Endpoint, usual: ssl.SSLContext) -> ssl.SSLContext:
    """The context for an endpoint. `usual` trusts the usual authorities; without a CA file, those of the machine join.

    Raises TelemetryNotConfigured for files that cannot be read or do not belong together.
    """
    tls = endpoint.tls
    context = usual
    if tls.ca_file is None:
        context.load_default_certs()
    else:
        with _loading(endpoint, "CA file", tls.ca_file):
            context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file is not None:
        with _loading(endpoint, "client certificate", tls.cert_file):
            # With a password, if only an empty one: OpenSSL would ask for it on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    elif tls.key_file is not None:
        raise TelemetryNotConfigured(
            endpoint.backend, f"{endpoint.backend} has a TLS key file without a certificate. Configure both or neither."
        )
    return context


@contextmanager
def _loading(endpoint: Endpoint, what: str, path: Path) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
        raise TelemetryNotConfigured(
            endpoint.backend,
            f"The {what} {path} of {endpoint.backend} cannot be used ({why or 'it is no PEM file'}). "
            "It has to be PEM, and a key has to belong to its certificate and be without a password.",
        ) from None
