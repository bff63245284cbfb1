"""How clients reach us: encryption, and whose word about them is believed."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings, NoDecode

from app.setting import comma_separated, parts, setting

_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


def _networks(value: object) -> object:
    """Networks that are written with commas. Raises ValueError, which names the wrong one."""
    if not isinstance(value, str):
        return value
    found = []
    for part in parts(value):
        try:
            found.append(ip_network(part))
        except ValueError as error:
            raise ValueError(f"{part!r} is no network ({error})") from None
    return tuple(found)


def _host(value: str) -> str:
    """A name as a client may ask for it, without the port. Raises ValueError."""
    name = value.lower().removesuffix(".")
    if value != "*" and not _HOST.fullmatch(name):
        raise ValueError(f"{value!r} is no host name")
    return name


Host = Annotated[str, AfterValidator(_host)]


class HTTPVariables(BaseSettings):
    """The settings of connections that clients make."""

    tls_cert_file: Path | None = setting(
        None, "The certificate to serve HTTPS with; read again when it changes. Without it, HTTP is served.",
        "a path to a PEM file, the intermediate certificates included",
    )  # fmt: skip
    tls_key_file: Path | None = setting(
        None, "Its key, where that is in another file.", "a path to a PEM file without a password"
    )
    hsts_seconds: int = setting(
        15_552_000, "For how long browsers that came by HTTPS use nothing else for this host; 0 to not tell them.",
        "0 to 63072000", ge=0, le=63_072_000,
    )  # fmt: skip
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)] = setting(
        (),
        "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, separated by commas. None by default.",
        "networks such as `10.0.0.0/8`, or addresses",
    )

    allowed_hosts: Annotated[tuple[Host, ...], NoDecode, BeforeValidator(comma_separated)] = setting(
        (),
        "Names by which clients may ask for this server (the header `Host`), separated by commas; `localhost` always "
        "may. By default any, but none where `AUTH_ENABLED=false` and only this machine reaches us.",
        "host names and addresses without a port, `*.example.com`, or `*`",
    )

    def http_problems(self) -> Iterable[str]:
        """What does not fit together."""
        if self.tls_key_file is not None and self.tls_cert_file is None:
            yield "TLS_KEY_FILE is set, but TLS_CERT_FILE is not. Set both or neither."
