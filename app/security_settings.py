"""How it is known who asks."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings

from app.setting import setting

LEAST_SECRET_BYTES: Final = 32

# What documentation and templates say, which is what people forget to change.
_PLACEHOLDERS: Final = (
    "changeme",
    "change-me",
    "change_me",
    "change-this",
    "change_this",
    "change-in-production",
    "replace-me",
    "replace-this",
    "your-secret",
    "your_secret",
    "dev-secret",
)
_HOW_TO_MAKE_ONE: Final = "Make one with: openssl rand -base64 48"


def _jwt_secret(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return value
    secret = value.get_secret_value()
    if len(secret.encode()) < LEAST_SECRET_BYTES:
        raise ValueError(f"it is shorter than {LEAST_SECRET_BYTES} bytes. {_HOW_TO_MAKE_ONE}")
    if any(word in secret.lower() for word in _PLACEHOLDERS):
        raise ValueError(f"it is a placeholder that everybody knows. {_HOW_TO_MAKE_ONE}")
    return value


class SecurityVariables(BaseSettings):
    """The settings of signing in."""

    auth_enabled: bool = setting(
        True,
        "Whether everybody has to prove who they are. Without it, whoever can connect may do everything, so it takes a "
        "`HOST` that only this machine reaches.",
        "true, false",
    )
    auth_disabled_allow_remote: bool = setting(
        False, "Allow `AUTH_ENABLED=false` on an address that others reach.", "true, false"
    )
    jwt_secret: Annotated[SecretStr | None, AfterValidator(_jwt_secret)] = setting(
        None,
        "Signs access tokens, and those of others who know it (HS256). Without it, a random one is kept in the "
        "database.",
        "32 bytes or more that nobody can guess, as of `openssl rand -base64 48`",
    )
    jwt_issuer: str | None = setting(None, "What `iss` of others' tokens has to be.", "text")
    jwt_audience: str | None = setting(None, "What `aud` of others' tokens has to be, or to have.", "text")
    jwt_leeway_seconds: float = setting(
        10, "How much the clocks of those who make tokens may differ from ours.", "0 to 60", ge=0, le=60
    )

    def security_problems(self, host: str) -> Iterable[str]:
        """What does not fit together, where the server listens on `host`."""
        if not self.auth_enabled and not self.auth_disabled_allow_remote and not _is_loopback(host):
            yield (
                f"AUTH_ENABLED=false lets whoever can connect do everything, and HOST={host} is reached from other "
                "machines. Listen on 127.0.0.1, or switch authentication on, or say that this is what you want: "
                "AUTH_DISABLED_ALLOW_REMOTE=true."
            )


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address. Other names than localhost may come to mean anything."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
