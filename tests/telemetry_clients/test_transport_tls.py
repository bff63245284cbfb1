"""Whom we trust, and who we are, over TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from domain.time import Deadline
from telemetry_clients.errors import TelemetryError, TelemetryNotConfigured, TelemetryUnavailable
from telemetry_clients.transport import TLS, Endpoint, Transport
from tests.telemetry_clients.demanding_server import demanding_server
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server
from tests.telemetry_clients.recording_observer import RecordingObserver

GOOD = http_answer(b"{}")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def client_files(authority, tmp_path) -> tuple[Path, Path]:
    certificate = authority.issue_cert("studio.example")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "client.key")
    return tmp_path / "client.pem", tmp_path / "client.key"


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
async def server(authority) -> AsyncIterator[LocalServer]:
    async with local_server(answering(GOOD), tls=server_context(authority, "127.0.0.1")) as server:
        yield server


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def demanding_url(request, authority) -> Iterator[str]:
    """It talks to those only who have a certificate of the authority."""
    context = server_context(authority, "127.0.0.1")
    context.minimum_version = context.maximum_version = request.param
    authority.configure_trust(context)
    with demanding_server(context, GOOD) as url:
        yield url


async def ask(endpoint: Endpoint, observer: RecordingObserver | None = None) -> int:
    async with Transport(endpoint, observer=observer) as transport:
        try:
            return (await transport.get("/ready", deadline=Deadline.after(10))).status
        finally:
            assert transport.busy_connections() == 0


async def test_a_server_whose_authority_is_configured_is_trusted(server, ca_file):
    assert await ask(Endpoint(backend="Loki", url=server.url, tls=TLS(ca_file=ca_file))) == 200


@pytest.mark.parametrize("trusted", ["the usual authorities", "another authority"])
async def test_a_server_whose_authority_is_unknown_is_told_and_asked_nothing(server, tmp_path, trusted):
    tls = TLS()
    if trusted == "another authority":
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
        tls = TLS(ca_file=tmp_path / "other.pem")
    with pytest.raises(TelemetryUnavailable, match=r"its certificate is not trusted. Configure the CA") as raised:
        await ask(Endpoint(backend="Loki", url=server.url, bearer_token="s3cret", tls=tls))
    assert "s3cret" not in raised.value.message
    assert server.requests == []


async def test_a_certificate_for_another_name_is_trusted_only_when_that_name_is_configured(authority, ca_file):
    async with local_server(answering(GOOD), tls=server_context(authority, "loki.internal")) as server:
        with pytest.raises(TelemetryUnavailable, match="not trusted"):
            await ask(Endpoint(backend="Loki", url=server.url, tls=TLS(ca_file=ca_file)))
        tls = TLS(ca_file=ca_file, server_name="loki.internal")
        assert await ask(Endpoint(backend="Loki", url=server.url, tls=tls)) == 200


async def test_skipping_the_check_works_and_is_warned_of(server):
    observer = RecordingObserver()
    endpoint = Endpoint(backend="Loki", url=server.url, tls=TLS(insecure_skip_verify=True))
    assert await ask(endpoint, observer) == 200
    [warning] = observer.warnings
    assert "is not checked" in warning
    assert server.address in warning


async def test_a_client_certificate_that_is_demanded_is_shown(demanding_url, ca_file, client_files):
    certificate, key = client_files
    tls = TLS(ca_file=ca_file, cert_file=certificate, key_file=key)
    assert await ask(Endpoint(backend="Loki", url=demanding_url, tls=tls)) == 200


@pytest.mark.parametrize("own", ["none", "one of another authority"])
async def test_without_the_client_certificate_that_is_demanded_we_are_not_configured(
    demanding_url, ca_file, tmp_path, own
):
    tls = TLS(ca_file=ca_file)
    if own != "none":
        trustme.CA().issue_cert("studio.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
        tls = TLS(ca_file=ca_file, cert_file=tmp_path / "own.pem")
    with pytest.raises(TelemetryNotConfigured, match="client certificate"):
        await ask(Endpoint(backend="Loki", url=demanding_url, tls=tls))


async def test_a_websocket_gets_the_same_trust_and_the_same_credentials(server, ca_file):
    endpoint = Endpoint(
        backend="Loki",
        url=server.url + "/logs/",
        basic_auth=("ops", "s3cret"),
        tenant="shop",
        tls=TLS(ca_file=ca_file, server_name="127.0.0.1"),
    )
    async with Transport(endpoint) as transport:
        target = transport.websocket_target("/loki/api/v1/tail", {"query": '{app="a b"}', "limit": "10"})
    assert target.url == f"wss://{server.address}/logs/loki/api/v1/tail?query=%7Bapp%3D%22a+b%22%7D&limit=10"
    assert target.headers["Authorization"] == "Basic b3BzOnMzY3JldA=="
    assert target.headers["X-Scope-OrgID"] == "shop"
    assert target.server_name == "127.0.0.1"
    assert isinstance(target.ssl, ssl.SSLContext)
    assert "b3Bz" not in repr(target)
    host, port = server.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=target.ssl, server_hostname=target.server_name)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"ca_file": "missing.pem"}, "CA file .*missing.pem of Loki cannot be used"),
        ({"ca_file": "empty.pem"}, "CA file .*empty.pem of Loki cannot be used"),
        ({"cert_file": "missing.pem"}, "client certificate .*missing.pem of Loki cannot be used"),
        ({"cert_file": "client.pem"}, "client certificate .*client.pem of Loki cannot be used"),
        ({"cert_file": "client.pem", "key_file": "other.key"}, "a key has to belong to its certificate"),
        ({"cert_file": "client.pem", "key_file": "locked.key"}, "be without a password"),
        ({"key_file": "client.key"}, "key file without a certificate"),
    ],
)
def test_files_that_cannot_work_are_refused_at_the_start(tmp_path, client_files, authority, files, words):
    (tmp_path / "empty.pem").touch()
    authority.issue_cert("other").private_key_pem.write_to_path(tmp_path / "other.key")
    key = (tmp_path / "client.key").read_text().splitlines()
    locked = [key[0].replace(" RSA", "").replace(" EC", ""), "Proc-Type: 4,ENCRYPTED", *key[1:]]
    (tmp_path / "locked.key").write_text("\n".join(locked))
    tls = TLS(**{name: tmp_path / file for name, file in files.items()})
    with pytest.raises(TelemetryError, match=words) as raised:
        Transport(Endpoint(backend="Loki", url="https://loki.example", tls=tls))
    assert raised.value.code == "TELEMETRY_NOT_CONFIGURED"
