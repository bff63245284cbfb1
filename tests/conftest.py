pytest_plugins = [
    "tests.node.fixtures",
    "tests.postgres",
    "tests.servers",
    "tests.telemetry_clients.prometheus_server",
]
