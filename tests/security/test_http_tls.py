"""HTTPS by the server itself."""

import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme
from websockets.asyncio.client import connect

from app.certificate import Certificate, CertificateError
from tests.http.graphql_socket import SUBPROTOCOL, GraphQLSocket, socket_url
from tests.servers import ServerProcess, run_command
from tests.waiting import until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    write(authority.issue_cert("127.0.0.1"), folder / "server.pem", folder / "server.key")
    return folder / "server.pem", folder / "server.key"


@pytest.fixture(scope="module")
async def encrypted(served_database_url: str, files: tuple[Path, Path]) -> AsyncIterator[ServerProcess]:
    certificate, key = map(str, files)
    async with ServerProcess("--tls-cert", certificate, "--tls-key", key, DATABASE_URL=served_database_url) as running:
        yield running


def write(certificate: trustme.LeafCert, cert_file: Path, key_file: Path) -> None:
    key_file.write_bytes(certificate.private_key_pem.bytes())
    cert_file.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def shown_certificate(url: str) -> str:
    """The certificate that whoever connects now is shown, in PEM."""
    address = httpx.URL(url)
    return ssl.get_server_certificate((address.host, address.port or 443))


async def test_it_answers_over_tls_and_tells_browsers_to_stay_there(
    encrypted: ServerProcess, authority: trustme.CA
) -> None:
    assert encrypted.url.startswith("https://")
    async with httpx.AsyncClient(base_url=encrypted.url, verify=trusting(authority), timeout=30) as client:
        answer = await client.post("/graphql", json={"query": "{ __typename }"})

    assert answer.json() == {"data": {"__typename": "Query"}}
    assert answer.headers["strict-transport-security"] == "max-age=15552000"


async def test_sockets_are_encrypted_too(encrypted: ServerProcess, authority: trustme.CA) -> None:
    url = socket_url(encrypted.url)
    async with connect(url, subprotocols=[SUBPROTOCOL], ssl=trusting(authority), proxy=None) as connection:
        socket = GraphQLSocket(connection)
        await socket.init()

        assert await socket.ask("1", "{ __typename }") == {"data": {"__typename": "Query"}}


async def test_who_does_not_encrypt_gets_nothing(encrypted: ServerProcess) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(encrypted.url.replace("https://", "http://") + "/health")


async def test_old_versions_of_tls_are_refused(encrypted: ServerProcess, authority: trustme.CA) -> None:
    context = trusting(authority)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with httpx.AsyncClient(verify=context, timeout=30) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{encrypted.url}/health")


async def test_a_renewed_certificate_is_shown_without_a_restart_and_half_a_renewal_is_waited_for(
    encrypted: ServerProcess, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    cert_file, key_file = files
    before = shown_certificate(encrypted.url)
    renewed = authority.issue_cert("127.0.0.1")

    cert_file.write_bytes(renewed.cert_chain_pems[0].bytes())
    await until(lambda: any("cannot be used" in line["event"] for line in encrypted.log))
    assert shown_certificate(encrypted.url) == before

    key_file.write_bytes(renewed.private_key_pem.bytes())
    await until(lambda: any(line["event"] == "the certificate was renewed" for line in encrypted.log))
    assert shown_certificate(encrypted.url) != before


@pytest.mark.parametrize("damage", ["missing", "no PEM", "another's key", "no key"])
def test_a_certificate_that_cannot_be_used_is_named(authority: trustme.CA, tmp_path: Path, damage: str) -> None:
    cert_file, key_file = tmp_path / "server.pem", tmp_path / "server.key"
    if damage != "missing":
        write(authority.issue_cert("127.0.0.1"), cert_file, key_file)
    if damage == "no PEM":
        cert_file.write_text("nonsense")
    if damage == "another's key":
        key_file.write_bytes(authority.issue_cert("127.0.0.1").private_key_pem.bytes())

    with pytest.raises(CertificateError, match=f"TLS_CERT_FILE {cert_file}.* cannot be used"):
        Certificate(cert_file, None if damage == "no key" else key_file)


async def test_the_server_does_not_start_without_its_certificate(tmp_path: Path) -> None:
    code, out, err = await run_command("serve", "--port", "0", "--tls-cert", str(tmp_path / "missing.pem"))

    assert (code, out) == (1, "")
    assert "missing.pem cannot be used (no such file or directory)" in err
    assert "Traceback" not in err


async def test_a_key_without_a_certificate_is_a_mistake(tmp_path: Path) -> None:
    code, _, err = await run_command("serve", settings={"TLS_KEY_FILE": os.fspath(tmp_path / "server.key")})

    assert code == 2
    assert "TLS_KEY_FILE is set, but TLS_CERT_FILE is not." in err
