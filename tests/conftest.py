from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.node.fixtures",
    "tests.postgres",
    "tests.servers",
    "tests.telemetry_clients.alertmanager_server",
    "tests.telemetry_clients.prometheus_server",
    "tests.actions.shop_history",
]

# Examples read from databases that live longer than one of them, and take as long as those need.
settings.register_profile(
    "quick",
    max_examples=120,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("long", settings.get_profile("quick"), max_examples=5_000, derandomize=False)
settings.load_profile("quick")
