"""How many may listen, and for how long nothing may be heard of them."""

from pydantic_settings import BaseSettings

from app.setting import setting


class StreamVariables(BaseSettings):
    """The settings of WebSockets and event streams."""

    max_streams: int = setting(
        10_000, "Most WebSockets and event streams that are open together.", "1 to 1000000", ge=1, le=1_000_000
    )
    max_streams_per_address: int = setting(
        1000, "Most of them that one address may hold open.", "1 to 100000", ge=1, le=100_000
    )
    max_streams_per_user: int = setting(
        100, "Most of them that one user who has signed in may hold open.", "1 to 100000", ge=1, le=100_000
    )
    max_operations_per_socket: int = setting(
        100, "Most operations, subscriptions included, that run on one WebSocket.", "1 to 10000", ge=1, le=10_000
    )
    socket_init_timeout_seconds: float = setting(
        10, "Time that a WebSocket client gets to send `connection_init`.", "0.1 to 300", ge=0.1, le=300
    )
    socket_ping_seconds: float = setting(
        20, "How often WebSocket clients are pinged. Who is silent for three times as long is disconnected.",
        "0.1 to 300", ge=0.1, le=300,
    )  # fmt: skip
    stream_keep_alive_seconds: float = setting(
        15, "How often an event stream with nothing to tell gets a comment.", "0.1 to 300", ge=0.1, le=300
    )
    send_timeout_seconds: float = setting(
        10, "Time after which a subscriber that takes nothing is disconnected; it can resume.", "0.1 to 300",
        ge=0.1, le=300,
    )  # fmt: skip
    event_log_retention_days: float = setting(
        30, "How long events are kept for subscribers to resume from.", "1 to 3650", ge=1, le=3650
    )
