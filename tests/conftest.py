pytest_plugins = [
    "tests.node.fixtures",
    "tests.postgres",
    "tests.stand_in",
    "tests.telemetry_clients.prometheus_server",
]
