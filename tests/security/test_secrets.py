"""Secrets: planted everywhere, and looked for in everything that comes out."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx
import orjson
import psutil
import pytest
import structlog
import typer
import websockets
from pydantic import SecretStr

from app.cli import cli
from app.observability.redaction import Redactor
from app.setting import SettingsError
from app.settings import Settings, load_settings
from domain.redaction import redact
from tests.app.otlp_collector import Collector, collecting
from tests.http.graphql_socket import SUBPROTOCOL, GraphQLSocket, connect, socket_url
from tests.postgres import run_sql
from tests.servers import ServerProcess, run_command
from tests.telemetry_clients.local_server import LocalServer, Request, http_answer, local_server
from tests.waiting import until

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEiLCJwbGFudGVkIjoxfQ.c2lnbmF0dXJlLXBsYW50ZWQ"
API_TOKEN = "rs_plantedPlantedPlanted0123456789"
PLANTED = {
    "database password": "pl4nted-database",
    "webhook token": "pl4nted-webhook",
    "signing key": "pl4nted-signing-key-0123456789-0123456789",
    "bearer token": "pl4nted-bearer",
    "backend password": "pl4nted-backend",
    "backend header": "pl4nted-header",
    "header for the collector": "pl4nted-collector",
    "cookie": "pl4nted-cookie",
    "token in a URL": "pl4nted-url",
    "init payload": "pl4nted-init",
    "JSON Web Token": JWT,
    "API token": API_TOKEN,
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cret@db:5432/studio is down", "postgresql://me:***@db:5432/studio is down"),
        ("Authorization: Bearer abc.def-123", "Authorization: ***"),
        ("(b'authorization', b'Bearer abc1')", "(b'authorization', b'***')"),
        ("sent Bearer abcDEF123 to Loki", "sent Bearer *** to Loki"),
        ("Cookie: session=1; other=2", "Cookie: ***"),
        (f"the token {JWT} is expired", "the token *** is expired"),
        (f"{API_TOKEN}?", "***?"),
        ("/api/webhooks/generic?token=s3cret&x=1", "/api/webhooks/generic?token=***&x=1"),
        ('{"payload": {"authToken": "s3cret"}}', '{"payload": {"authToken": "***"}}'),
        (r'{"event": "{\"password\": \"s3cret\"}"}', r'{"event": "{\"password\": \"***\"}"}'),
        ("{'refresh_token': 's3\"cret'}", "{'refresh_token': '***'}"),
        ("host=db password=s3cret dbname=studio", "host=db password=*** dbname=studio"),
        ("X-Grafana-Id: abc", "X-Grafana-Id: ***"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Check the user and the password (DATABASE_URL, or DB_USER and DB_PASSWORD).",
        "PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD belong together. Set both or neither.",
        "Basic authentication and Bearer tokens are possible",
        "http://127.0.0.1:9000/graphql",
        'sum(rate(http_requests_total{job="checkout",code=~"5.."}[5m]))',
        "postgresql://me@db:5432/studio",
        "The token is expired",
        '{"token_count": 5, "tokens": 7}',
        "from incidents where id = $1",
    ],
)
def test_what_does_not_is_shown_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_are_not_shown_whatever_they_look_like() -> None:
    redactor = Redactor(["open sesame!", "p/w:%", "abc"])

    assert redactor.text("he said open sesame! twice") == "he said *** twice"
    assert redactor.text(f"in a URL: {quote('open sesame!')}") == "in a URL: ***"
    assert redactor.text("abc is too short to be looked for") == "abc is too short to be looked for"


def test_members_with_telling_names_are_not_shown_however_deep_they_are() -> None:
    event = {
        "event": "said",
        "authorization": "open sesame",
        "payload": {"connection": {"Auth-Token": "open sesame", "count": 3}},
        "tokens": 12,
    }

    shown = Redactor().members(structlog.get_logger(), "info", event)
    assert shown == {
        "event": "said",
        "authorization": "***",
        "payload": {"connection": {"Auth-Token": "***", "count": 3}},
        "tokens": 12,
    }


async def _echo(request: Request, writer: asyncio.StreamWriter) -> None:
    """A backend that answers every question with what came with it, as badly configured gateways do."""
    said = "; ".join(f"{name}: {value}" for name, value in request.headers.items())
    body = orjson.dumps({"status": "error", "errorType": "bad_data", "error": f"rejected: {said}"})
    writer.write(http_answer(body, status=400))


@pytest.fixture
async def echo() -> AsyncIterator[LocalServer]:
    async with local_server(_echo) as server:
        yield server


def settings_with_secrets(database_url: str, backend: str, collector: str = "http://127.0.0.1:1") -> dict[str, str]:
    return {
        "DATABASE_URL": re.sub(r"://(\w+)(:[^@]*)?@", rf"://\1:{PLANTED['database password']}@", database_url),
        "WEBHOOK_TOKENS": f"alertmanager={PLANTED['webhook token']}",
        "JWT_SECRET": PLANTED["signing key"],
        "PROMETHEUS_URL": backend,
        "PROMETHEUS_BEARER_TOKEN": PLANTED["bearer token"],
        "LOKI_URL": backend,
        "LOKI_USERNAME": "me",
        "LOKI_PASSWORD": PLANTED["backend password"],
        "LOKI_HEADERS": f"X-Gateway-Key={PLANTED['backend header']}",
        "TEMPO_URL": backend,
        "ALERTMANAGER_URL": backend,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={PLANTED['header for the collector']}",
        "LOG_LEVEL": "debug",
    }


async def _provoke(url: str) -> list[str]:
    """Make the server complain in as many ways as there are, and return all that it said."""
    headers = {
        "Authorization": f"Bearer {JWT}",
        "Cookie": f"session={PLANTED['cookie']}",
        "X-Grafana-Id": JWT,
        "GraphQL-Require-Preflight": "1",
    }
    telemetry = """{ services { nodes { name metrics { name points { value } } logs { entries { line } }
                    traces { traceId } } } health { components { name message } } alerts { nodes { id } } }"""
    token = PLANTED["token in a URL"]
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        answers = [
            await client.post("/graphql", json={"query": telemetry}),
            await client.post("/graphql", json={"query": "{ services { nodes { name metrics { name } } } }"}),
            await client.post("/graphql", json={"query": "{ incidents { nodes { id } } }"}),
            await client.post("/graphql", content=b"{", headers={"Content-Type": "application/json"}),
            await client.get("/graphql", params={"query": "{", "token": token}),
            await client.get("/api/incidents"),
            await client.get(f"/api/{API_TOKEN}/nothing"),
            await client.get(f"/api/{JWT}"),
            await client.get("/api/health"),
            await client.get("/metrics"),
            await client.post(f"/api/webhooks/generic?token={token}", json={"name": "x"}),
            await client.post("/api/webhooks/alertmanager", json={"x": 1}),
            await client.post("/v2/enqueue", json={"routing_key": token, "event_action": "trigger"}),
            await client.post("/api/incidents", json={"password": PLANTED["cookie"]}),
        ]
    said = [answer.text + str(answer.headers) for answer in answers]
    payload = {"authorization": f"Bearer {JWT}", "token": PLANTED["init payload"]}
    async with websockets.connect(socket_url(url), subprotocols=[SUBPROTOCOL]) as connection:
        socket = GraphQLSocket(connection)
        await socket.say({"type": "connection_init", "payload": payload})
        await socket.hear()
        await socket.subscribe("1", "{ incidents { nodes { id } } }")
        said.append(str(await socket.hear()))
        await socket.say({"type": "connection_init", "payload": payload})
        said.append(str(await socket.closed(after_messages=True)))
    async with connect(url) as socket:
        await socket.say({"type": "nonsense", "payload": payload})
        said.append(str(await socket.closed()))
    return said


async def test_nothing_that_the_server_says_holds_a_secret(database_url: str, echo: LocalServer) -> None:
    with collecting() as collector:
        await _plant_and_look(database_url, echo, collector)


async def _plant_and_look(database_url: str, echo: LocalServer, collector: Collector) -> None:
    settings = settings_with_secrets(database_url, echo.url, collector.url)
    async with ServerProcess(**settings) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            incident = {"title": "Slow", "severity": "low", "service": "checkout"}
            (await client.post("/api/incidents", json=incident)).raise_for_status()
        await run_sql(database_url, "alter table incidents rename to gone")  # Whatever reads it fails unexpectedly.
        said = await _provoke(running.url)
        processes = [
            running.process.pid,
            *(p.pid for p in psutil.Process(running.process.pid).children(recursive=True)),
        ]
        commands = [" ".join(psutil.Process(pid).cmdline()) for pid in processes]
        await until(lambda: any("exception" in line for line in running.log))
    log = [orjson.dumps(line).decode() for line in running.log]

    assert collector.lines
    assert collector.spans
    assert echo.requests, "the backends were asked, with their credentials"
    assert any(PLANTED["bearer token"] in request.headers.get("authorization", "") for request in echo.requests)
    for what, secret in PLANTED.items():
        for place, texts in {
            "an answer": said,
            "the log": log,
            "standard error": [running.complaints],
            "the list of processes": commands,
            "an exported log line": [f"{line.body} {line.attributes}" for line in collector.lines],
            "a trace": [f"{span.name} {span.attributes}" for span in collector.spans],
        }.items():
            found = [text for text in texts if secret in text]
            assert not found, f"the {what} is in {place}: {found[0]}"


async def test_check_says_what_fails_and_no_secret(database_url: str, echo: LocalServer) -> None:
    wrong = f"postgresql://me:{PLANTED['database password']}@127.0.0.1:1/studio"
    _, out, err = await run_command(
        "check", settings={**settings_with_secrets(database_url, echo.url), "DATABASE_URL": wrong}
    )

    assert out.count("fails") >= 5
    for what, secret in PLANTED.items():
        assert secret not in out + err, f"the {what} is shown"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


class TestFiles:
    """`<SETTING>_FILE`, as containers mount secrets."""

    def test_every_secret_can_come_from_a_file(self) -> None:
        secrets = {
            name
            for name, field in Settings.model_fields.items()
            if "SecretStr" in str(field.annotation) and "dict" not in str(field.annotation)
        }

        assert {"database_url", "db_password", "webhook_tokens"} <= secrets
        assert {f"{name}_file" for name in secrets} <= Settings.model_fields.keys()

    def test_it_is_read_without_the_line_end(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "password").write_text(" s3cret \n")
        (tmp_path / "tokens").write_text("grafana=t0ken,generic=0ther")
        for name, value in {"DB_HOST": "db", "DB_USER": "me", "DB_NAME": "studio"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DB_PASSWORD_FILE", str(tmp_path / "password"))
        monkeypatch.setenv("WEBHOOK_TOKENS_FILE", str(tmp_path / "tokens"))
        settings = load_settings()

        assert settings.postgres_url() == "postgresql://me:%20s3cret%20@db:5432/studio"
        assert settings.webhook_tokens == SecretStr("grafana=t0ken,generic=0ther")
        assert {"t0ken", "0ther", " s3cret "} <= set(settings.secrets())

    def test_it_may_be_named_by_the_file_of_settings(self, tmp_path: Path) -> None:
        (tmp_path / "url").write_text("postgresql://me:s3cret@db/studio\n")
        (tmp_path / "studio.env").write_text(f"DATABASE_URL_FILE={tmp_path / 'url'}\n")

        assert load_settings(tmp_path / "studio.env").postgres_url() == "postgresql://me:s3cret@db/studio"

    def test_a_value_and_a_file_exclude_each_other(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "tokens").write_text("a=b")
        monkeypatch.setenv("WEBHOOK_TOKENS", "a=b")
        monkeypatch.setenv("WEBHOOK_TOKENS_FILE", str(tmp_path / "tokens"))

        with pytest.raises(SettingsError, match="WEBHOOK_TOKENS and WEBHOOK_TOKENS_FILE exclude each other"):
            load_settings()

    @pytest.mark.parametrize(
        ("content", "problem"), [(None, "cannot be read"), (b"", "is empty"), (b"\xff\xfe", "it is not UTF-8")]
    )
    def test_a_file_that_holds_no_secret_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, problem: str
    ) -> None:
        if content is not None:
            (tmp_path / "url").write_bytes(content)
        monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))

        with pytest.raises(SettingsError, match=rf"DATABASE_URL_FILE='{tmp_path}/url'.*{problem}"):
            load_settings()

    def test_what_is_wrong_with_its_content_does_not_show_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "url").write_text("mysql://me:s3cret@db/studio")
        monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))

        with pytest.raises(SettingsError, match="it does not start with postgresql://") as caught:
            load_settings()
        assert "s3cret" not in str(caught.value)


def test_no_option_of_the_command_line_takes_a_secret() -> None:
    command = typer.main.get_command(cli)
    commands = [command]
    options = set()
    while commands:
        one = commands.pop()
        commands += getattr(one, "commands", {}).values()
        options |= {option for parameter in one.params for option in parameter.opts if option.startswith("--")}

    assert {"--host", "--tls-key", "--env-file"} <= options
    assert not [option for option in options if re.search("password|secret|token|credential|url", option)]
