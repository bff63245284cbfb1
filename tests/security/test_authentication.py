"""Nobody gets in without a proof that holds."""

import re
import time

import httpx
import pytest

from app.settings import Settings
from tests.postgres import run_sql
from tests.security.signing import SECRET, bearer, claims, forged, token
from tests.servers import ServerProcess, run_command

VIEWER = {"query": "{ viewer { name role } }"}
NOW = int(time.time())

ROUTES = [
    ("GET", "/api/incidents"),
    ("POST", "/api/incidents"),
    ("GET", "/api/incidents/active"),
    ("GET", "/api/incidents/018f0000-0000-7000-8000-000000000000"),
    ("PATCH", "/api/incidents/018f0000-0000-7000-8000-000000000000"),
    ("GET", "/api/incidents/018f0000-0000-7000-8000-000000000000/timeline"),
    ("POST", "/api/incidents/018f0000-0000-7000-8000-000000000000/timeline"),
    ("GET", "/api/services"),
    ("GET", "/api/services/"),
    ("GET", "/api/slos"),
    ("GET", "/api/nothing"),
    ("GET", "/nothing"),
]

BAD_TOKENS = {
    "expired": (token(iat=NOW - 120, exp=NOW - 60), "The token has expired"),
    "not valid yet": (token(nbf=NOW + 86_400), "The token is not valid yet"),
    "made in the future": (token(iat=NOW + 86_400), "The token is not valid yet"),
    "of another secret": (token(SECRET + "x"), "The token's signature does not hold"),
    "that never expires": (token(exp=float("inf")), "The token does not hold"),
    "whose sub is no text": (token(sub=["ada@example.org"]), "The token does not hold"),
    "without exp": (token(exp=None), "The token has no exp"),
    "without iat": (token(iat=None), "The token has no iat"),
    "without sub": (token(sub=None), "The token has no sub"),
    "with an empty sub": (token(sub=""), "The token's sub must be a text of 1 to 255 characters that can be printed"),
    "not signed": (forged({"alg": "none"}, claims(), None), "Tokens that are signed this way are not taken here"),
    "not signed, in capitals": (
        forged({"alg": "NONE"}, claims(), None),
        "Tokens that are signed this way are not taken here",
    ),
    "signed with nothing": (forged({"alg": "HS256"}, claims(), b""), "The token's signature does not hold"),
    "another algorithm": (token(SECRET * 2, "HS512"), "Tokens that are signed this way are not taken here"),
    "with an unknown extension": (
        token(headers={"crit": ["b64"], "b64": False}),
        "The token's header asks for an extension that is not known here",
    ),
    "garbage": ("abc.def.ghi", "The token is not a JSON Web Token"),
    "one part": ("abc", "The token is not a JSON Web Token"),
    "too long": ("a" * 9000, "The token has more than 8192 characters"),
}


async def test_a_token_that_holds_says_who_asks(closed: httpx.AsyncClient):
    answer = await closed.post("/graphql", json=VIEWER, headers=bearer(token()))
    assert (answer.status_code, answer.json()) == (200, {"data": {"viewer": {"name": "Ada", "role": "ADMIN"}}})
    assert (await closed.get("/api/services", headers=bearer(token()))).status_code == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_asks_for_a_token(closed: httpx.AsyncClient, method: str, path: str):
    answer = await closed.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == 'Bearer realm="Reliability Studio"'


@pytest.mark.parametrize(
    "accept", ["application/json", "application/graphql-response+json", "text/event-stream", "multipart/mixed"]
)
async def test_graphql_asks_for_a_token_however_it_is_answered(closed: httpx.AsyncClient, accept: str):
    for query in ("{ __typename }", "{ nonsense", "subscription { events { cursor } }", "mutation { resolveIncident }"):
        answer = await closed.post("/graphql", json={"query": query}, headers={"accept": accept})
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await closed.get("/graphql", params=VIEWER, headers={"accept": accept})).status_code == 401


@pytest.mark.parametrize("path", ["/health", "/api/health", "/metrics"])
async def test_probes_need_no_token(closed: httpx.AsyncClient, path: str):
    assert (await closed.get(path)).status_code == 200


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_token_that_does_not_hold_is_refused(closed: httpx.AsyncClient, kind: str):
    bad, reason = BAD_TOKENS[kind]
    answer = await closed.post("/graphql", json=VIEWER, headers=bearer(bad))
    assert answer.status_code == 401
    assert answer.json()["errors"] == [{"message": reason, "extensions": {"code": "UNAUTHENTICATED"}}]
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert (await closed.get("/api/services", headers=bearer(bad))).json() == {
        "error": reason,
        "code": "UNAUTHENTICATED",
    }


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "token", ""])
async def test_other_schemes_are_no_proof(closed: httpx.AsyncClient, header: str):
    answer = await closed.post("/graphql", json=VIEWER, headers={"authorization": header})
    assert answer.status_code == 401


async def test_two_tokens_are_none(closed: httpx.AsyncClient):
    headers = [("authorization", f"Bearer {token()}"), ("authorization", f"Bearer {token(sub='eve@example.com')}")]
    answer = await closed.post("/graphql", json=VIEWER, headers=headers)
    assert answer.status_code == 401


async def test_two_people_of_one_name_are_told_apart_in_the_audit_log(closed: httpx.AsyncClient):
    said = {"name": "Sam Same", "role": "responder"}
    for proof in (token(sub="sam-1", **said), token(sub="sam-1", iss="https://idp.example", **said)):
        opened = await closed.post("/api/incidents", json={"title": "x", "severity": "low"}, headers=bearer(proof))
        assert opened.status_code == 201
    query = '{ auditLog(filter: {actorName: ["Sam Same"]}) { nodes { action actorSubject actor { id } } } }'
    answer = await closed.post("/graphql", json={"query": query}, headers=bearer(token()))
    assert answer.json()["data"]["auditLog"]["nodes"] == [
        {"action": "incident.create", "actorSubject": subject, "actor": None}
        for subject in ("https://idp.example sam-1", "sam-1")
    ]


async def test_webhooks_are_closed_where_no_token_is_configured(closed: httpx.AsyncClient):
    said = {"name": "Backup failed", "service": "orders", "status": "firing"}
    for path in ("alertmanager", "grafana", "cloudevents", "generic"):
        answer = await closed.post(f"/api/webhooks/{path}", json=said)
        assert answer.status_code == 401, path
    event = {"routing_key": "any", "event_action": "resolve", "dedup_key": "x"}
    assert (await closed.post("/v2/enqueue", json=event)).status_code == 401


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"JWT_SECRET": "hunter2"}, "it is shorter than 32 bytes. Make one with: openssl rand -base64 48"),
        ({"JWT_SECRET": "dev-secret-change-this-to-something-else"}, "it is a placeholder that everybody knows"),
        ({"AUTH_ENABLED": "false", "HOST": "::"}, "AUTH_DISABLED_ALLOW_REMOTE=true"),
        ({"AUTH_ENABLED": "false", "HOST": "studio.example"}, "AUTH_DISABLED_ALLOW_REMOTE=true"),
        ({"JWT_JWKS_URL": "https://idp.example/jwks", "JWT_ISSUER": "*"}, "JWT_AUDIENCE is not: tokens for any other"),
        ({"JWT_JWKS_URL": "https://idp.example/jwks", "JWT_AUDIENCE": "studio"}, "JWT_ISSUER is not. Set it to what"),
    ],
)
async def test_a_server_that_would_be_open_does_not_start(settings: dict[str, str], complaint: str):
    code, _, err = await run_command("serve", settings={"PORT": "0", **settings})
    assert code == 2
    assert complaint in err
    assert settings.get("JWT_SECRET", "\0") not in err


@pytest.mark.parametrize(
    ("issuer", "audience", "expected"),
    [("https://idp.example", "studio", ("https://idp.example", "studio")), ("*", "*", (None, None))],
)
def test_any_issuer_and_any_audience_has_to_be_asked_for(
    issuer: str, audience: str, expected: tuple[str | None, str | None]
):
    settings = Settings(jwt_jwks_url="https://idp.example/jwks", jwt_issuer=issuer, jwt_audience=audience)
    assert settings.expected_of_others() == expected


async def test_a_server_without_authentication_says_so_loudly(server: ServerProcess):
    [warning] = [line for line in server.log if line["event"].startswith("authentication is off")]
    assert warning["level"] == "warning"
    code, out, _ = await run_command("check", settings={"DATABASE_URL": "postgresql://127.0.0.1:9/none"})
    assert code == 1
    assert re.search("authentication +fails +It is off: whoever can connect may do everything", out)


async def test_only_who_is_known_is_told_why_a_component_is_unwell(closed: httpx.AsyncClient):
    assert (await closed.get("/api/health")).json() == {
        "status": "healthy",
        "components": {"database": {"status": "healthy"}},
    }
    told = (await closed.get("/api/health", headers=bearer(token()))).json()
    assert told["components"]["database"]["version"]
    assert (await closed.get("/api/health", headers=bearer("wrong"))).status_code == 200


async def test_what_nobody_foresaw_while_somebody_proves_who_they_are_is_masked(database_url: str):
    settings = {"DATABASE_URL": database_url, "AUTH_ENABLED": "true"}
    async with ServerProcess(**settings) as running, httpx.AsyncClient(base_url=running.url, timeout=30) as http:
        await run_sql(database_url, "alter table api_tokens rename column token_hash to something_else")
        answer = await http.get("/api/incidents", headers=bearer("rs_guess"))
        told = f"Something went wrong here. Mention {answer.headers['x-request-id']} when you report it."
        assert (answer.status_code, answer.json()) == (500, {"error": told})
