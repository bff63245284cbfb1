"""Who we say we are: the Authorization header, and the other headers of every request."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

from telemetry_clients.errors import TelemetryNotConfigured
from telemetry_clients.transport.endpoint import Endpoint

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


_NO_SECRETS = frozenset({"accept", "accept-encoding", "content-type", "user-agent", "x-scope-orgid", "traceparent"})
_SHORTEST_SECRET = 6


def without_credentials(body: bytes, sent: Mapping[str, str]) -> bytes:
    """What a backend said, without what came with the question: badly configured gateways repeat that in errors."""
    for name, value in sent.items():
        if name.lower() in _NO_SECRETS:
            continue
        scheme, _, rest = value.partition(" ")
        secrets = [value, rest]
        if scheme == "Basic":
            secrets.append(b64decode(rest).decode().partition(":")[2])
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                body = body.replace(secret.encode(), b"***")
    return body


class SecretFile:
    """A secret in a file, read again when the file changes: tokens that are rotated are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, int, int] | None = None
        self._secret = ""

    def secret(self) -> str:
        """What the file holds, without the white space around it. The last one where the file cannot be read any more.

        Raises OSError and ValueError where it never could.
        """
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if version != self._read:
                secret = self._path.read_text(encoding="utf-8").strip()
                if not secret:
                    raise ValueError("it is empty")
                self._secret, self._read = secret, version
        except (OSError, ValueError):
            if not self._secret:
                raise
        return self._secret


class Credentials:
    """The headers that go with every request to one endpoint."""

    def __init__(self, endpoint: Endpoint, from_url: tuple[str, str] | None) -> None:
        """Raises TelemetryNotConfigured for more than one credential, unreadable files, unusable headers."""
        self._backend = endpoint.backend
        self._authorization = self._only_way(endpoint, from_url)
        self._fixed = {"Accept-Encoding": "gzip", "User-Agent": "reliability-studio", **endpoint.headers}
        if endpoint.tenant is not None:
            self._fixed["X-Scope-OrgID"] = endpoint.tenant
        self._checked(self.headers())

    def headers(self) -> dict[str, str]:
        """The headers as they are now. Raises TelemetryNotConfigured where a new secret cannot be sent."""
        if self._authorization is None:
            return dict(self._fixed)
        return {**self._fixed, **self._checked({"Authorization": self._authorization()})}

    def _only_way(self, endpoint: Endpoint, from_url: tuple[str, str] | None) -> Callable[[], str] | None:
        ways = [_fixed(_basic(*given)) for given in (from_url, endpoint.basic_auth) if given is not None]
        if endpoint.password_file is not None:
            user, path = endpoint.password_file
            ways.append(self._from_file(path, lambda password: _basic(user, password)))
        if endpoint.bearer_token is not None:
            ways.append(_fixed(f"Bearer {endpoint.bearer_token}"))
        if endpoint.bearer_token_file is not None:
            ways.append(self._from_file(endpoint.bearer_token_file, lambda token: f"Bearer {token}"))
        if len(ways) > 1:
            raise TelemetryNotConfigured(
                self._backend,
                f"More than one credential is configured for {self._backend}. "
                "Keep one of: credentials in the URL, user and password, bearer token.",
            )
        return ways[0] if ways else None

    def _from_file(self, path: Path, header: Callable[[str], str]) -> Callable[[], str]:
        file = SecretFile(path)

        def read() -> str:
            try:
                return header(file.secret())
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is empty or not UTF-8"
                raise TelemetryNotConfigured(
                    self._backend, f"The credentials of {self._backend} cannot be read from {path}: {why}."
                ) from None

        return read

    def _checked(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise TelemetryNotConfigured(
                    self._backend,
                    f"The header {name!r} configured for {self._backend} cannot be sent. "
                    "Names are letters, digits and hyphens; values are printable ASCII on one line.",
                )
        return headers


def _fixed(header: str) -> Callable[[], str]:
    return lambda: header


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
