"""Settings: what is wrong with one is said at the start, by its name."""

import subprocess
from pathlib import Path

import pytest

from app.setting import SettingsError
from app.settings import GraphQLHTTPProfile, LogLevel, Settings, load_settings, markdown_table
from tests.servers import ROOT, run_command

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_any_setting_there_is_a_default_for_everything() -> None:
    settings = load_settings()

    assert (settings.host, settings.port) == ("127.0.0.1", 9000)
    assert settings.postgres_url() is None
    assert (settings.db_pool_max_connections, settings.db_pool_kept_connections) == (50, 10)
    assert (settings.operation_timeout_seconds, settings.shutdown_timeout_seconds) == (15, 20)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PORT", "99999", "PORT='99999' is not allowed. Allowed: 0 to 65535."),
        ("PORT", "http", "PORT='http' is not allowed. Allowed: 0 to 65535."),
        ("LOG_LEVEL", "loud", "LOG_LEVEL='loud' is not allowed. Allowed: debug, info, warning, error."),
        ("LOG_FORMAT", "xml", "LOG_FORMAT='xml' is not allowed. Allowed: json, console."),
        ("GRAPHQL_HTTP_PROFILE", "v2", "GRAPHQL_HTTP_PROFILE='v2' is not allowed. Allowed: default, draft."),
        ("OPERATION_TIMEOUT_SECONDS", "nan", "OPERATION_TIMEOUT_SECONDS='nan' is not allowed. Allowed: 0.1 to 300."),
        ("SHUTDOWN_TIMEOUT_SECONDS", "0", "SHUTDOWN_TIMEOUT_SECONDS='0' is not allowed. Allowed: 1 to 600."),
        ("PROMETHEUS_URL", "prometheus:9090", "it does not start with http:// or https:// and a host"),
        ("LOKI_URL", "http://loki?x=1", "it has a query or a fragment"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,b.example", "'b.example' is no origin"),
        ("DB_SSLMODE", "yes", "Allowed: disable, allow, prefer, require, verify-ca, verify-full."),
        ("DB_PORT", "tcp://10.0.0.1:5432", "DB_PORT='tcp://10.0.0.1:5432' is not allowed. Allowed: 1 to 65535."),
        ("DB_POOL_MAX_CONNECTIONS", "5", "DB_POOL_KEPT_CONNECTIONS=10 is more than DB_POOL_MAX_CONNECTIONS=5."),
        ("DB_USER", "me", "DB_USER is set, but neither DB_HOST nor DATABASE_URL is."),
        ("DB_HOST", "db", "DB_HOST is set, but DB_USER is not."),
        ("PROMETHEUS_USERNAME", "me", "PROMETHEUS_USERNAME is set, but PROMETHEUS_URL is not."),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "ours.key",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY is set, but OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is not.",
        ),
        ("LOKI_HEADERS", "X-Shop", "LOKI_HEADERS is not allowed: a header is without `=`."),
        ("TEMPO_MAX_CONNECTIONS", "0", "TEMPO_MAX_CONNECTIONS='0' is not allowed. Allowed: 1 to 1000."),
        ("ALERTMANAGER_TLS_INSECURE_SKIP_VERIFY", "maybe", "Allowed: true, false."),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert complaint in str(caught.value)


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("LOG_LEVEL", "loud")

    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert [problem.partition("=")[0] for problem in caught.value.problems] == ["PORT", "LOG_LEVEL"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"mysql://me:{SECRET}@db/studio"),
        ("DATABASE_URL", f"postgresql://me:{SECRET}@db"),
        ("PROMETHEUS_URL", f"http://me:{SECRET}@prometheus:9090"),
    ],
)
def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("OPERATION_TIMEOUT_SECOND", "OPERATION_TIMEOUT_SECONDS"),
        ("PROMETHEUS_URLS", "PROMETHEUS_URL"),
    ],
)
def test_a_variable_that_is_almost_a_setting_is_refused(monkeypatch: pytest.MonkeyPatch, slip: str, meant: str) -> None:
    monkeypatch.setenv(slip, "x")

    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{slip} is not a setting. {meant} is: rename it, or unset it."


@pytest.mark.parametrize("name", ["DB_HOST2", "HOSTS", "PORTS", "PROMETHEUS_PORT", "LOKI_HOST", "DATA", "MY_PORT"])
def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")

    load_settings()


def test_a_slip_beside_the_right_setting_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLEVEL", "x")
    monkeypatch.setenv("LOG_LEVEL", "error")

    assert load_settings().log_level is LogLevel.ERROR


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "studio.env"
    file.write_text("HOST=from-file\nPORT=1\nLOG_LEVEL=debug\n# a comment\nGRAPHQL_HTTP_PROFILE='draft'\n")
    monkeypatch.setenv("PORT", "2")
    monkeypatch.setenv("LOG_LEVEL", "")
    settings = load_settings(file, port=3, host=None)

    assert (settings.host, settings.port, settings.log_level) == ("from-file", 3, LogLevel.DEBUG)
    assert settings.graphql_http_profile is GraphQLHTTPProfile.DRAFT


def test_an_unknown_key_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "studio.env"
    file.write_text("PORT=9100\nPROMETHEUS=http://localhost:9090\nCOLOUR=blue\n")

    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert caught.value.problems == (
        f"PROMETHEUS in {file} is not a setting. PROMETHEUS_URL is.",
        f"COLOUR in {file} is not a setting. The README lists them.",
    )


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        load_settings(tmp_path / "missing.env")


def test_the_parts_of_a_database_address_become_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DB_HOST": "db.example",
        "DB_PORT": "6432",
        "DB_USER": "me@home",
        "DB_PASSWORD": "p/w:%?",
        "DB_NAME": "studio",
        "DB_SSLMODE": "require",
    }.items():
        monkeypatch.setenv(name, value)

    expected = "postgresql://me%40home:p%2Fw%3A%25%3F@db.example:6432/studio?sslmode=require"
    assert load_settings().postgres_url() == expected


async def test_the_server_does_not_start_with_a_bad_setting() -> None:
    code, out, err = await run_command("serve", settings={"PORT": "99999", "DATABASE_URL": f"mysql://me:{SECRET}@db/x"})

    assert (code, out) == (2, "")
    assert "Error: PORT='99999' is not allowed. Allowed: 0 to 65535." in err
    assert "Error: DATABASE_URL is not allowed" in err
    assert SECRET not in err


def test_every_setting_says_what_it_does_and_what_is_allowed() -> None:
    for line in markdown_table().splitlines()[2:]:
        name, _, allowed, description = (cell.strip() for cell in line.strip("|").split("|"))
        assert allowed, name
        assert description.endswith("."), name


def test_the_table_in_the_readme_is_current() -> None:
    readme = (ROOT / "README.md").read_text()
    _, _, rest = readme.partition("<!-- settings -->\n")
    table, _, _ = rest.partition("<!-- /settings -->")

    assert table.strip() == markdown_table().strip(), "run: reliability-studio settings, and paste it into README.md"


def test_only_one_module_reads_the_environment() -> None:
    found = subprocess.run(
        ["git", "grep", "-lE", r"os\.(environ|getenv)|from os import .*(environ|getenv)", "--", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode not in (0, 1):
        pytest.skip("needs a git checkout")

    ours = [path for path in found.stdout.split() if not path.startswith(("tests/", "bench/"))]
    # The health check of containers asks the program from outside, and loads nothing of it.
    assert ours == ["app/settings.py", "deploy/probe.py"]
