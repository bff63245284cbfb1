from tests.telemetry_clients.prometheus_server import prometheus_server

__all__ = ["prometheus_server"]
