"""Who may post alerts, and how they become incidents."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings

from app.setting import parts, setting

_SOURCE_CHARACTERS = 100


def _webhook_tokens(value: SecretStr | None) -> SecretStr | None:
    """`name=token` pairs. Raises ValueError, which does not say the token."""
    tokens_of(value)
    return value


def tokens_of(value: SecretStr | None) -> dict[str, str]:
    """The tokens by the names of their sources. Raises ValueError."""
    tokens: dict[str, str] = {}
    for position, pair in enumerate(parts(value.get_secret_value()) if value else (), start=1):
        name, separator, token = (part.strip() for part in pair.partition("="))
        if not separator or not name or not token:
            raise ValueError(f"pair {position} is not of the form name=token")
        if name in tokens or len(name) > _SOURCE_CHARACTERS:
            raise ValueError(f"the name of pair {position} is given twice or longer than {_SOURCE_CHARACTERS}")
        tokens[name] = token
    return tokens


class AlertVariables(BaseSettings):
    """The settings of alerts and incidents."""

    webhook_tokens: Annotated[SecretStr | None, AfterValidator(_webhook_tokens)] = setting(
        None,
        "Who may post alerts: `name=token` for each source, separated by commas. Beside them, whoever has a token with "
        "the scope `alerts:write`; where `AUTH_ENABLED=false`, everybody, unless this is set.",
        "names of sources and their tokens, as in `alertmanager=s3cret,grafana=t0ken`",
    )
    max_webhook_bytes: int = setting(
        5_242_880, "Largest body of a webhook.", "1024 to 104857600 (100 MiB)", ge=1024, le=104_857_600
    )
    alert_grouping_window_seconds: float = setting(
        1800, "How long after its last alert an incident takes more about the same service.", "0 to 604800",
        ge=0, le=604_800,
    )  # fmt: skip
    alert_dependency_window_seconds: float = setting(
        300, "How close together a service and what it depends on are hit to be one incident.", "0 to 86400",
        ge=0, le=86_400,
    )  # fmt: skip
    alert_hold_seconds: float = setting(
        120, "How long all alerts of an incident are over before it counts as mitigated.", "0 to 86400",
        ge=0, le=86_400,
    )  # fmt: skip
    alert_flapping_firings: int = setting(
        3, "An alert flaps that fires so often within `ALERT_FLAPPING_SECONDS`.", "2 to 100", ge=2, le=100
    )
    alert_flapping_seconds: float = setting(
        900, "How long an incident with a flapping alert has to be quiet.", "1 to 86400", ge=1, le=86_400
    )
    alert_upkeep_seconds: float = setting(
        10, "How often it is looked whether incidents have become quiet.", "0.5 to 3600", ge=0.5, le=3600
    )
    alert_reconciliation_seconds: float = setting(
        60, "How often alerts are compared with Alertmanager's and Prometheus'; 0 for never.", "0, or 1 to 3600",
        ge=0, le=3600,
    )  # fmt: skip
    alert_reconciliation_grace_seconds: float = setting(
        30, "How long an alert may be on its way before it counts as missed.", "0 to 3600", ge=0, le=3600
    )
    alert_reconciliation_source: str = setting(
        "alertmanager",
        "As which source of `WEBHOOK_TOKENS` the configured Alertmanagers post; an HA pair is one.",
        "a name",
    )
    alert_reconciliation_receiver: str | None = setting(
        None, "Through which of Alertmanager's receivers they do; all alerts are compared by default.",
        "a regular expression (RE2)",
    )  # fmt: skip
    alert_delivery_retention_days: float = setting(
        30, "How long deliveries of alerts are kept as they came.", "1 to 3650", ge=1, le=3650
    )
