"""How it is known who asks."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from app.setting import HTTP_URL, DocumentURL, parts, setting
from domain.access import Role

LEAST_SECRET_BYTES: Final = 32
ANY: Final = "*"

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


def _roles(value: object) -> object:
    """`word=role` pairs. Raises ValueError."""
    if not isinstance(value, str):
        return value
    roles: dict[str, Role] = {}
    for pair in parts(value):
        word, separator, role = (part.strip() for part in pair.rpartition("="))
        if not separator or not word or role.upper() not in Role.__members__:
            raise ValueError(f"{pair!r} is not of the form word=role")
        roles[word] = Role(role.upper())
    return roles


def _default_role(value: object) -> object:
    if not isinstance(value, str):
        return value
    return None if value.lower() == "none" else value.upper()


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
    jwt_jwks_url: DocumentURL | None = setting(
        None, "Where an identity provider publishes the keys that it signs tokens with (RS256, ES256, EdDSA).", HTTP_URL
    )
    jwt_issuer: str | None = setting(
        None, "What `iss` of others' tokens has to be. `JWT_JWKS_URL` takes one, or `*` for any.", "text, or `*`"
    )
    jwt_audience: str | None = setting(
        None,
        "What `aud` of others' tokens has to be, or to have. `JWT_JWKS_URL` takes one; with `*`, a token for any other "
        "program of the same issuer lets in here as well.",
        "text, or `*`",
    )
    jwt_role_claim: str = setting(
        "role",
        "The claim of others' tokens that says the role: a word, or a list of words.",
        "`role`, `realm_access.roles`",
    )
    jwt_roles: Annotated[Mapping[str, Role], NoDecode, BeforeValidator(_roles)] = setting(
        {}, "Which words there mean which role, beside our own, as in `sre=responder,platform=admin`.",
        "`word=role`, separated by commas; roles are viewer, responder, admin",
    )  # fmt: skip
    jwt_default_role: Annotated[Role | None, BeforeValidator(_default_role)] = setting(
        Role.VIEWER, "The role of who has none by their token, nor as a user here; `none` refuses them.",
        "viewer, responder, admin, none",
    )  # fmt: skip
    jwt_create_users: bool = setting(
        False, "Add a user for everybody who comes with others' token and an address that is unknown.", "true, false"
    )
    jwt_leeway_seconds: float = setting(
        10, "How much the clocks of those who make tokens may differ from ours.", "0 to 60", ge=0, le=60
    )

    grafana_signing_keys_url: DocumentURL | None = setting(
        None,
        "Where Grafana publishes its keys, as `http://grafana:3000/api/signing-keys/keys`: then its users are known by "
        "the token that it forwards (`X-Grafana-Id`).",
        HTTP_URL,
    )
    grafana_token_issuer: str | None = setting(None, "What `iss` of Grafana's tokens has to be: its root URL.", "text")
    grafana_token_audience: str | None = setting(
        None, "What `aud` of Grafana's tokens has to be: the organisation, as in `org:1`.", "text"
    )
    access_token_seconds: float = setting(900, "How long an access token is good.", "10 to 86400", ge=10, le=86_400)
    refresh_token_days: float = setting(
        14, "How long somebody may be away and still be signed in.", "0.01 to 365", ge=0.01, le=365
    )
    rights_kept_seconds: float = setting(
        2,
        "How long it is believed what was read of a user, a session or an API token. What changes is told to all "
        "servers at once, so this is for servers that the news does not reach.",
        "0 to 3600",
        ge=0,
        le=3_600,
    )
    sign_in_attempts_per_address: int = setting(
        30, "How often one address may fail to sign in within five minutes.", "1 to 10000", ge=1, le=10_000
    )
    sign_in_attempts_per_user: int = setting(
        5, "How often one address may fail as one user within five minutes.", "1 to 1000", ge=1, le=1_000
    )
    admin_email: str = setting(
        "admin@localhost", "As whom the first admin signs in, who is added at the first start.", "an address"
    )
    metrics_token: SecretStr | None = setting(
        None,
        "What Prometheus has to show to read `/metrics`, as its bearer token. Without it everybody may: there are "
        "numbers and no names.",
        "text",
    )

    def security_problems(self, host: str) -> Iterable[str]:
        """What does not fit together, where the server listens on `host`."""
        if not self.auth_enabled and not self.auth_disabled_allow_remote and not is_loopback(host):
            yield (
                f"AUTH_ENABLED=false lets whoever can connect do everything, and HOST={host} is reached from other "
                "machines. Listen on 127.0.0.1, or switch authentication on, or say that this is what you want: "
                "AUTH_DISABLED_ALLOW_REMOTE=true."
            )
        if self.jwt_jwks_url is not None and self.jwt_issuer is None:
            yield (
                "JWT_JWKS_URL is set, but JWT_ISSUER is not. Set it to what `iss` of the tokens says, which is the "
                "`issuer` of your identity provider's /.well-known/openid-configuration, or to * where any is right."
            )
        if self.jwt_jwks_url is not None and self.jwt_audience is None:
            yield (
                "JWT_JWKS_URL is set, but JWT_AUDIENCE is not: tokens for any other program of your identity provider "
                "would let in here. Set it to what `aud` of the tokens for this one says, often the client's id, or to "
                "* where all of them shall let in."
            )

    def expected_of_others(self) -> tuple[str | None, str | None]:
        """What `iss` and `aud` of others' tokens have to be; None where that is not looked at."""
        issuer, audience = (None if value == ANY else value for value in (self.jwt_issuer, self.jwt_audience))
        return issuer, audience


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address. Other names than localhost may come to mean anything."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
