"""The certificate that the server shows, and its renewal while the server runs."""

import asyncio
import ssl
from pathlib import Path
from typing import Final

import structlog

_WATCH_SECONDS: Final = 1.0

log = structlog.get_logger("reliability_studio.certificate")


class CertificateError(Exception):
    """A certificate or a key cannot be used; says which, and what to do."""


class Certificate:
    """A certificate and its key. Whoever connects gets the newest that could be read; who is connected stays so.

    TLS 1.2 and 1.3 with what OpenSSL considers secure. Raises CertificateError.
    """

    def __init__(self, cert_file: Path, key_file: Path | None) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._read_at = self._changed_at()
        self.context = self._load(_empty())

    async def run(self) -> None:
        """Read the files again whenever they change, until cancelled."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            self.renew()

    def renew(self) -> None:
        """Read the files again if they changed. What cannot be used, half of a renewal say, is left for later."""
        changed_at = self._changed_at()
        if changed_at == self._read_at:
            return
        self._read_at = changed_at
        try:
            self._load(_empty())  # A context that fails to load may be left with a certificate and another's key.
            self._load(self.context)
        except CertificateError as error:
            log.warning("the certificate changed and cannot be used, the one before stays in use", reason=str(error))
        else:
            log.info("the certificate was renewed", file=str(self._cert_file))

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        try:
            # A key with a password would be asked for on the terminal.
            context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise CertificateError(self._problem(error)) from error
        return context

    def _changed_at(self) -> tuple[int, ...]:
        """When each file was last changed; 0 for one that is not there."""
        files = [self._cert_file, *([self._key_file] if self._key_file else [])]
        return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)

    def _problem(self, error: Exception) -> str:
        key = f" with TLS_KEY_FILE {self._key_file}" if self._key_file else ""
        why = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
        return (
            f"TLS_CERT_FILE {self._cert_file}{key} cannot be used ({str(why or error).replace('_', ' ').lower()}). "
            "Give a certificate and its key, in PEM and without a password."
        )


def _empty() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
