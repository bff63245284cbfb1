"""Tokens of identity providers and of Grafana, whose keys are published."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from app.auth.key_sets import COOLDOWN_SECONDS, FRESH_SECONDS, KEPT_SECONDS, KeySet, keys_of
from app.auth.tokens import Header
from app.settings import Settings
from domain.errors import IssuerUnavailable, Unauthenticated
from telemetry_clients.errors import TelemetryUnavailable
from telemetry_clients.transport import Endpoint, Transport
from tests.security.signing import bearer, claims, forged, token
from tests.servers import ServerProcess
from tests.telemetry_clients.local_server import LocalServer, Request, http_answer, local_server

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
WHO = {"query": "{ viewer { name role } }"}
OURS = {"iss": "https://idp.example", "aud": ["studio", "others"], "role": None}


def published(key: Any, algorithm: type[Any], kid: str, **changes: Any) -> dict[str, Any]:
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **changes}


KEYS = [
    published(RSA, jwt.algorithms.RSAAlgorithm, "rsa", alg="RS256"),
    published(OTHER_RSA, jwt.algorithms.RSAAlgorithm, "other"),
    published(EC, jwt.algorithms.ECAlgorithm, "ec"),
    published(ED, jwt.algorithms.OKPAlgorithm, "ed"),
    published(OTHER_RSA, jwt.algorithms.RSAAlgorithm, "for-encryption", use="enc"),
    {"kty": "oct", "kid": "symmetric", "k": base64.urlsafe_b64encode(b"k" * 32).decode()},
    {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
]


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[LocalServer]:
    """Whoever publishes KEYS."""
    async with local_server(publishing) as running:
        yield running


async def publishing(request: Request, writer: asyncio.StreamWriter) -> None:
    """Publish KEYS at exactly the paths that are documented, as routers do that know of nothing at others."""
    there = request.path in ("/jwks", "/application/studio/jwks/", "/api/signing-keys/keys")
    writer.write(http_answer(orjson.dumps({"keys": KEYS})) if there else http_answer(b"{}", status=404))


@pytest.fixture(scope="session")
async def federated(issuer: LocalServer, closed_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server that takes the issuer's tokens for the audience "studio", and Grafana's of "org:1"."""
    async with ServerProcess(
        DATABASE_URL=closed_database_url,
        AUTH_ENABLED="true",
        JWT_JWKS_URL=f"{issuer.url}/jwks",
        JWT_ISSUER="https://idp.example",
        JWT_AUDIENCE="studio",
        JWT_ROLE_CLAIM="realm_access.roles",
        JWT_ROLES="sre=responder",
        GRAFANA_SIGNING_KEYS_URL=f"{issuer.url}/api/signing-keys/keys",
        GRAFANA_TOKEN_AUDIENCE="org:1",
        METRICS_TOKEN="scrape-me",
        JWT_CREATE_USERS="true",
    ) as running:
        yield running


@pytest.fixture
async def http(federated: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the federated server."""
    async with httpx.AsyncClient(base_url=federated.url, timeout=30) as client:
        yield client


def of(key: Any, algorithm: str, kid: str | None, **changes: Any) -> str:
    return token(key, algorithm, None if kid is None else {"kid": kid}, **{**OURS, **changes})


async def who(http: httpx.AsyncClient, headers: dict[str, str]) -> Any:
    answer = await http.post("/graphql", json=WHO, headers=headers)
    body = answer.json()
    return body["data"]["viewer"] if answer.status_code == 200 else body["errors"][0]["message"]


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
async def test_tokens_of_published_keys_are_taken(http: httpx.AsyncClient, key: Any, algorithm: str, kid: str):
    roles = {"realm_access": {"roles": ["offline", "SRE"]}}
    assert await who(http, bearer(of(key, algorithm, kid, **roles))) == {"name": "Ada", "role": "RESPONDER"}
    assert await who(http, bearer(of(key, algorithm, kid, sub="7"))) == {"name": "Ada", "role": "VIEWER"}


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


ATTACKS = {
    "HS256 with the public key of RS256": (
        forged({"alg": "HS256", "kid": "rsa"}, {**claims(**OURS)}, public_pem(RSA)),
        "The token is signed in a way that its key is not for",
    ),
    "HS256 with what is published of RS256": (
        forged({"alg": "HS256", "kid": "rsa"}, {**claims(**OURS)}, KEYS[0]["n"].encode()),
        "The token is signed in a way that its key is not for",
    ),
    "none": (
        forged({"alg": "none", "kid": "rsa"}, claims(**OURS), None),
        "The token is signed in a way that its key is not for",
    ),
    "a key swapped for another one that is published": (
        of(OTHER_RSA, "RS256", "rsa"),
        "The token's signature does not hold",
    ),
    "a published symmetric key": (
        token("k" * 32, "HS256", {"kid": "symmetric"}, **OURS),
        "The token is signed with a key that its issuer does not publish",
    ),
    "a key for encryption": (
        of(OTHER_RSA, "RS256", "for-encryption"),
        "The token is signed with a key that its issuer does not publish",
    ),
    "another algorithm of the same key": (
        of(RSA, "PS256", "rsa"),
        "The token is signed in a way that its key is not for",
    ),
    "no key id, where there are several keys": (
        of(RSA, "RS256", None),
        "The token is signed with a key that its issuer does not publish",
    ),
    "the key in the header": (
        jwt.encode(
            claims(**OURS),
            RSA,
            algorithm="RS256",
            headers={"kid": "mine", "jwk": KEYS[0], "jku": "https://evil.example/jwks"},
        ),
        "The token is signed with a key that its issuer does not publish",
    ),
    "another audience": (of(RSA, "RS256", "rsa", aud="others"), "The token is for another audience"),
    "no audience": (of(RSA, "RS256", "rsa", aud=None), "The token has no aud"),
    "another issuer": (of(RSA, "RS256", "rsa", iss="https://evil.example"), "The token is of another issuer"),
    "no issuer": (of(RSA, "RS256", "rsa", iss=None), "The token has no iss"),
    "our own key id": (of(RSA, "RS256", "reliability-studio"), "The token is signed in a way that its key is not for"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_that_its_issuer_did_not_make_for_us_is_refused(http: httpx.AsyncClient, attack: str):
    forgery, reason = ATTACKS[attack]
    assert await who(http, bearer(forgery)) == reason


async def test_a_flood_of_unknown_key_ids_costs_the_issuer_nothing(http: httpx.AsyncClient, issuer: LocalServer):
    await who(http, bearer(of(RSA, "RS256", "rsa")))
    before = len(issuer.requests)
    answers = await asyncio.gather(*(who(http, bearer(of(RSA, "RS256", f"made-up-{i}"))) for i in range(40)))
    assert set(answers) == {"The token is signed with a key that its issuer does not publish"}
    assert len(issuer.requests) - before <= 1


async def test_who_comes_for_the_first_time_is_added_where_that_is_wanted(http: httpx.AsyncClient):
    query = {"query": "{ viewer { name role user { name } } }"}
    first = of(RSA, "RS256", "rsa", sub="42", email="new@example.org", name="New", realm_access={"roles": ["admin"]})
    again = of(RSA, "RS256", "rsa", sub="42", email="NEW@example.org", name="Other")
    unproven = of(RSA, "RS256", "rsa", sub="43", email="new@example.org", email_verified=False)
    told = [(await http.post("/graphql", json=query, headers=bearer(it))).json() for it in (first, again, unproven)]
    assert [it["data"]["viewer"] for it in told] == [
        {"name": "New", "role": "ADMIN", "user": {"name": "New"}},
        {"name": "New", "role": "ADMIN", "user": {"name": "New"}},
        {"name": "Ada", "role": "VIEWER", "user": None},
    ]


async def test_grafana_vouches_for_its_users(http: httpx.AsyncClient):
    said = {"aud": "org:1", "sub": "user:1", "role": "Editor", "username": "grace", "name": None}
    forwarded = {"x-grafana-id": token(EC, "ES256", {"kid": "ec"}, **said)}
    assert await who(http, forwarded) == {"name": "grace", "role": "RESPONDER"}
    other = {"x-grafana-id": token(EC, "ES256", {"kid": "ec"}, **{**said, "aud": "org:2"})}
    assert await who(http, other) == "The token is for another audience"
    expired = {"x-grafana-id": token(EC, "ES256", {"kid": "ec"}, **{**said, "iat": 1, "exp": 2})}
    assert await who(http, expired) == "The token has expired"


async def test_metrics_can_be_closed_to_all_but_prometheus(http: httpx.AsyncClient):
    assert (await http.get("/metrics")).status_code == 401
    assert (await http.get("/metrics", headers=bearer(of(RSA, "RS256", "rsa")))).status_code == 401
    assert (await http.get("/metrics", headers=bearer("scrape-me"))).status_code == 200


@pytest.mark.parametrize("path", ["/jwks", "/application/studio/jwks/"])
async def test_keys_are_fetched_from_the_url_that_is_set_to_the_last_slash(issuer: LocalServer, path: str):
    url = Settings(jwt_jwks_url=issuer.url + path, jwt_issuer="*", jwt_audience="*").jwt_jwks_url
    async with Transport(Endpoint(backend="keys", url=str(url))) as transport:
        assert (await KeySet.at(transport).key(KNOWN)).algorithm == "RS256"
    assert issuer.requests[-1].path == path


class Publisher:
    """Publishes keys, or is away, on a clock of its own."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.is_away = False
        self.asked = 0

    async def fetch(self) -> object:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise TelemetryUnavailable("it", "it is away")
        return {"keys": KEYS}

    def key_set(self) -> KeySet:
        return KeySet(self.fetch, clock=lambda: self.seconds)


KNOWN, UNKNOWN = Header("RS256", "rsa"), Header("RS256", "unknown")


async def test_keys_are_fetched_once_for_all_who_wait():
    publisher = Publisher()
    keys = publisher.key_set()
    found = await asyncio.gather(*(keys.key(KNOWN) for _ in range(20)))
    assert {key.algorithm for key in found} == {"RS256"}
    assert publisher.asked == 1


async def test_keys_that_cannot_be_fetched_again_stay_good_for_a_day():
    publisher = Publisher()
    keys = publisher.key_set()
    await keys.key(KNOWN)
    publisher.is_away = True
    publisher.seconds += FRESH_SECONDS + 1
    assert (await keys.key(KNOWN)).algorithm == "RS256"
    publisher.seconds += KEPT_SECONDS
    with pytest.raises(IssuerUnavailable):
        await keys.key(KNOWN)
    publisher.is_away = False
    publisher.seconds += COOLDOWN_SECONDS
    with pytest.raises(Unauthenticated):
        await keys.key(UNKNOWN)
    assert (await keys.key(KNOWN)).algorithm == "RS256"


async def test_an_issuer_that_was_never_there_is_no_reason_to_call_a_token_wrong():
    publisher = Publisher()
    publisher.is_away = True
    keys = publisher.key_set()
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await keys.key(KNOWN)
    assert publisher.asked == 1  # and not again before the cooldown is over


async def test_an_unknown_key_is_looked_for_again_after_the_cooldown():
    publisher = Publisher()
    keys = publisher.key_set()
    for expected in (1, 1, 1):
        with pytest.raises(Unauthenticated):
            await keys.key(UNKNOWN)
        assert publisher.asked == expected
    publisher.seconds += COOLDOWN_SECONDS
    with pytest.raises(Unauthenticated):
        await keys.key(UNKNOWN)
    assert publisher.asked == 2


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": [1, None, {}]}, "keys"])
def test_what_is_no_key_set_has_no_keys(document: object):
    assert keys_of(document) == {}
