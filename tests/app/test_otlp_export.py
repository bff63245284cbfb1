"""How spans and log lines get to a collector that is slow, away, or wants none of them."""

import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from app.observability.log_records import LogRecord
from app.observability.otlp.collector import log_records_to
from app.observability.otlp.sending import BATCH, Exporter
from app.observability.otlp.trust import trust
from app.settings import Settings
from tests.app.otlp_collector import Collector, collecting
from tests.app.test_alerts_live import free_port
from tests.servers import run_command
from tests.waiting import until


def record(number: int, **details: object) -> LogRecord:
    return LogRecord(time.time_ns(), "reliability_studio.tests", "info", f"line {number}", details)


def exporter(
    url: str, told: list[str] | None = None, *, capacity: int = 100, settings: Settings | None = None
) -> Exporter[LogRecord]:
    heard = [] if told is None else told
    tls = trust(settings or Settings())
    sink = log_records_to(f"{url}/v1/logs", headers={"X-Own": "ours"}, resource={"service.name": "tests"}, tls=tls)
    return Exporter(sink, name="tests", capacity=capacity, interval_seconds=0.01, told=heard.append)


def end(sending: Exporter[LogRecord], *, within_seconds: float = 20) -> None:
    sending.stop(within_seconds=within_seconds)
    sending.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


async def test_what_is_sent_arrives_whatever_it_holds(collector: Collector):
    sending = exporter(collector.url)
    sending.put(record(1, text="ü", whole=1, part=0.5, sure=True, nothing=None, many=[1, {"a": "b"}]))
    await until(lambda: bool(collector.lines))
    end(sending)

    (line,) = collector.lines
    assert line.body == "line 1"
    assert line.attributes == {"text": "ü", "whole": 1, "part": 0.5, "sure": True, "many": '[1,{"a":"b"}]'}
    assert (sending.exported, sending.dropped) == (1, 0)


async def test_what_cannot_be_written_is_dropped_and_said(collector: Collector):
    told: list[str] = []
    sending = exporter(collector.url, told)
    sending.put(record(1, text="\ud800"))
    await until(lambda: sending.dropped == 1)
    sending.put(record(2))
    await until(lambda: sending.exported == 1)
    end(sending)

    assert [line.body for line in collector.lines] == ["line 2"]
    assert "cannot be written" in told[0]


async def test_nobody_waits_for_a_collector_that_is_away_and_the_newest_are_kept():
    port = free_port()
    told: list[str] = []
    sending = exporter(f"http://127.0.0.1:{port}", told, capacity=10)
    sending.put(record(0))
    await until(lambda: bool(told))
    for number in range(1, 101):
        sending.put(record(number))
    assert sending.dropped == 90

    with collecting(port) as collector:
        await until(lambda: sending.exported == 11)
        end(sending)
    assert [line.body for line in collector.lines] == ["line 0", *(f"line {number}" for number in range(91, 101))]
    assert told == ["it cannot be reached: ConnectionRefusedError", ""]


async def test_a_collector_that_is_overloaded_is_asked_again(collector: Collector):
    collector.status = 503
    told: list[str] = []
    sending = exporter(collector.url, told)
    sending.put(record(1))
    await until(lambda: bool(told))
    collector.status = 200
    await until(lambda: sending.exported == 1)
    end(sending)
    assert told == ["it answered HTTP 503", ""]


async def test_what_a_collector_refuses_is_dropped(collector: Collector):
    collector.status = 400
    sending = exporter(collector.url)
    sending.put(record(1))
    await until(lambda: sending.dropped == 1)
    end(sending)
    assert sending.exported == 0


async def test_the_end_sends_what_waits(collector: Collector):
    sending = exporter(collector.url, capacity=3 * BATCH)
    for number in range(2 * BATCH + 1):
        sending.put(record(number))
    end(sending)
    assert len(collector.lines) == 2 * BATCH + 1


async def test_the_end_does_not_wait_for_a_collector_that_is_away():
    sending = exporter(f"http://127.0.0.1:{free_port()}")
    for number in range(20):
        sending.put(record(number))
    end(sending, within_seconds=0.2)
    assert sending.dropped == 20


async def test_nothing_but_the_settings_decides_how_a_collector_is_asked(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-foreign=theirs")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "deflate")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/nowhere")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "foreign=theirs")
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "nobody")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    sending = exporter(collector.url)
    sending.put(record(1))
    await until(lambda: sending.exported == 1)
    end(sending)

    assert collector.headers[0]["x-own"] == "ours"
    assert "x-foreign" not in collector.headers[0]
    assert collector.resources == [{"service.name": "tests"}]


async def test_a_collector_is_trusted_as_the_system_trusts_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    told: list[str] = []
    with collecting(tls=tls) as collector:
        stranger = exporter(collector.url, told)
        stranger.put(record(1))
        await until(lambda: bool(told))
        end(stranger, within_seconds=0.1)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        friend = exporter(collector.url)
        friend.put(record(2))
        await until(lambda: friend.exported == 1)
        end(friend)
    assert told == ["it cannot be reached: SSLCertVerificationError"]
    assert [line.body for line in collector.lines] == ["line 2"]


async def test_a_collector_with_an_authority_of_its_own_is_trusted_by_that_alone(tmp_path: Path):
    """And is shown our certificate, where it wants one."""
    authority, ours = trustme.CA(), tmp_path / "ours.pem"
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    authority.issue_cert("studio.example").private_key_and_cert_chain_pem.write_to_path(str(ours))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "authority.pem"))
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    told: list[str] = []
    with collecting(tls=tls) as collector:
        mistaken = Settings(otel_exporter_otlp_certificate=tmp_path / "another.pem")
        stranger = exporter(collector.url, told, settings=mistaken)
        stranger.put(record(0))
        await until(lambda: bool(told))
        end(stranger, within_seconds=0.1)
        settings = Settings(
            otel_exporter_otlp_certificate=tmp_path / "authority.pem", otel_exporter_otlp_client_certificate=ours
        )
        friend = exporter(collector.url, settings=settings)
        friend.put(record(1))
        await until(lambda: friend.exported == 1)
        end(friend)
    assert told == ["it cannot be reached: SSLCertVerificationError"]
    assert [line.body for line in collector.lines] == ["line 1"]


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"])
async def test_a_file_that_cannot_be_used_is_named_before_anything_starts(name: str, tmp_path: Path):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example", name: str(tmp_path / "missing.pem")}

    code, _, complaint = await run_command("serve", "--port", "0", settings=settings)

    assert code == 1
    assert f"{name} {tmp_path}/missing.pem cannot be used (no such file or directory)" in complaint


async def test_a_redirect_takes_nothing(collector: Collector):
    collector.status = 302
    sending = exporter(collector.url)
    sending.put(record(1))
    await until(lambda: sending.dropped == 1)
    end(sending)
    assert sending.exported == 0


def test_where_nothing_is_sent_nothing_is_loaded_for_it():
    program = """
import sys
from app.asgi import application
from app.observability.exporters import Exporters
from app.settings import Settings

Exporters.open(Settings()).close()
print([name for name in sys.modules if name.startswith("opentelemetry.sdk") or name == "requests"])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
