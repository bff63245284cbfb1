"""Telemetry backends: configured alike by variables or by a file, in as many instances as there are."""

from pathlib import Path

import pytest

from app.backend_settings import Backend, BackendSettings
from app.backends import open_backends, open_transport
from app.setting import SettingsError
from app.settings import Settings, load_settings, markdown_table
from telemetry_clients.errors import TelemetryNotConfigured
from tests.telemetry_clients.local_server import answering, http_answer, local_server

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def configured(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "telemetry.yaml"
    file.write_text(text)
    return load_settings(telemetry_config=file)


@pytest.mark.parametrize("backend", list(Backend))
def test_every_backend_has_every_setting(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    given = {
        "URL": "https://backend.example/prefix/",
        "USERNAME": "me",
        "PASSWORD": SECRET,
        "TENANT": "shop",
        "HEADERS": "X-A=1, X-B = b=c",
        "TLS_CA_FILE": "/ca.pem",
        "TIMEOUT_SECONDS": "3",
        "MAX_CONNECTIONS": "7",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"{backend.upper()}_{name}", value)
    settings = load_settings()

    [(name, one)] = settings.backends(backend).items()
    assert name == "default"
    assert (one.url, one.username, one.tenant) == ("https://backend.example/prefix", "me", "shop")
    assert {header: value.get_secret_value() for header, value in one.headers.items()} == {"X-A": "1", "X-B": "b=c"}
    assert (one.tls_ca_file, one.timeout_seconds, one.max_connections) == (Path("/ca.pem"), 3, 7)
    assert one.max_response_bytes == 16_777_216
    assert SECRET not in repr(settings) + repr(one)
    assert [other for other in Backend if settings.backends(other)] == [backend]


def test_every_setting_of_a_backend_is_in_the_table() -> None:
    table = markdown_table()
    for name in BackendSettings.model_fields:
        assert f"`<BACKEND>_{name.upper()}`" in table


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"LOKI_TENANT": "x"}, "LOKI_TENANT is set, but LOKI_URL is not. Set it, or unset LOKI_TENANT."),
        ({"LOKI_USERNAME": "x"}, "LOKI_USERNAME and LOKI_PASSWORD belong together. Set both or neither."),
        (
            {"LOKI_BEARER_TOKEN": "x", "LOKI_BEARER_TOKEN_FILE": "/x"},
            "LOKI_BEARER_TOKEN and LOKI_BEARER_TOKEN_FILE exclude each other.",
        ),
        (
            {"LOKI_USERNAME": "x", "LOKI_PASSWORD_FILE": "/x", "LOKI_BEARER_TOKEN": "x"},
            "LOKI_PASSWORD_FILE and LOKI_BEARER_TOKEN exclude each other.",
        ),
        ({"LOKI_TLS_KEY_FILE": "/x"}, "LOKI_TLS_KEY_FILE is set, but LOKI_TLS_CERT_FILE is not."),
        (
            {"LOKI_URL": "http://loki", "LOKI_TLS_CA_FILE": "/x"},
            "LOKI_TLS_CA_FILE is set, but LOKI_URL does not start with https://.",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], complaint: str
) -> None:
    if "LOKI_TENANT" not in variables:
        variables = {"LOKI_URL": "https://loki", **variables}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert complaint in str(caught.value)


def test_a_file_names_further_instances_and_its_paths_lead_from_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", "http://prometheus")
    settings = configured(
        tmp_path,
        """
        prometheus:
          eu: {url: https://eu.example, bearer_token_file: eu.token, tls_ca_file: /etc/ca.pem}
          us: {url: http://us.example, tenant: shop, headers: {X-A: "1"}, max_connections: 5}
        loki:
          eu: {url: http://logs.example}
        """,
    )

    instances = settings.backends(Backend.PROMETHEUS)
    assert {name: one.url for name, one in instances.items()} == {
        "default": "http://prometheus",
        "eu": "https://eu.example",
        "us": "http://us.example",
    }
    assert instances["eu"].bearer_token_file == tmp_path / "eu.token"
    assert instances["eu"].tls_ca_file == Path("/etc/ca.pem")
    assert instances["us"].max_connections == 5
    assert list(settings.backends(Backend.LOKI)) == ["eu"]
    assert settings.backends(Backend.TEMPO) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2]", "it has to be a mapping of backends (prometheus, loki, tempo, pushgateway, alertmanager)."),
        ("a: [", "it is not YAML (line 1, column 5)."),
        ("graphite: {}", "graphite is not a backend. Allowed: prometheus, loki, tempo, pushgateway, alertmanager."),
        ("loki: http://loki", "loki has to be a mapping of names of instances to their settings."),
        ("loki: {EU West: {url: http://x}}", "loki.EU West is no name of an instance."),
        ("loki: {eu: http://x}", "loki.eu has to be a mapping of settings."),
        ("loki: {eu: {tenant: x}}", "loki.eu.url is missing. Allowed: http:// or https://"),
        ("loki: {eu: {url: http://x, colour: blue}}", "loki.eu.colour is not a setting. Allowed: url, username,"),
        ("loki: {eu: {url: loki}}", "loki.eu.url='loki' is not allowed: it does not start with http://"),
        ("loki: {eu: {url: http://x, max_connections: 0}}", "loki.eu.max_connections='0' is not allowed. Allowed: 1"),
        ("loki: {eu: {url: http://x, username: me}}", "loki.eu.username and "),
        ("loki: {default: {url: http://x}}", "loki.default is configured by LOKI_URL as well."),
    ],
)
def test_a_file_that_says_something_wrong_is_refused_with_the_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, complaint: str
) -> None:
    monkeypatch.setenv("LOKI_URL", "http://loki")
    with pytest.raises(SettingsError) as caught:
        configured(tmp_path, text)
    assert complaint in str(caught.value)
    assert f"TELEMETRY_CONFIG {tmp_path / 'telemetry.yaml'}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"loki: {{eu: {{url: 'http://me:{SECRET}@loki'}}}}",
        f"loki: {{eu: {{url: http://loki, bearer_token: [{SECRET}]}}}}",
        f"loki: {{eu: {{url: http://loki, headers: {SECRET}}}}}",
        f"loki: {{eu: {{url: http://loki, bearer_token: {SECRET}: x",
    ],
)
def test_a_secret_in_a_wrong_file_is_never_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        configured(tmp_path, text)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TELEMETRY_CONFIG .*no\.yaml: it cannot be read"):
        load_settings(telemetry_config=tmp_path / "no.yaml")


async def test_each_instance_is_reached_as_configured_and_the_default_is_named_so_or_the_first(tmp_path: Path) -> None:
    body = b'{"status":"success","data":{"version":"3.1.0"}}'
    async with local_server(answering(http_answer(body))) as eu, local_server(answering(http_answer(body))) as us:
        settings = configured(
            tmp_path,
            f"""
            prometheus:
              eu: {{url: {eu.url}/eu, tenant: europe}}
              us: {{url: {us.url}, username: me, password: {SECRET}}}
            """,
        )
        async with open_backends(settings) as backends:
            assert [dependency.name for dependency in backends.dependencies] == ["prometheus/eu", "prometheus/us"]
            prometheus = backends.telemetry.prometheus
            assert prometheus.get() is prometheus.get("eu")
            with pytest.raises(TelemetryNotConfigured, match=r"called 'asia' .*Configured are: eu, us\."):
                prometheus.get("asia")
            async with open_transport(settings, Backend.PROMETHEUS, "us") as transport:
                assert transport.instance == "us"
            with pytest.raises(TelemetryNotConfigured, match="Set PUSHGATEWAY_URL"):
                async with open_transport(settings, Backend.PUSHGATEWAY):
                    pass
