"""Where other systems post their alerts.

A delivery is answered 2xx when it is stored, and not before. Alertmanager tries 5xx again and takes 4xx for final, so
whatever may work later is a 5xx.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from app.alert_intake import AlertIntake, Overloaded, Receipt
from app.clock import now
from app.http.graphql import Identify
from app.http.inputs import body_of
from app.http.negotiation import is_json
from db.identifiers import new_id
from domain.access import require
from domain.alerts import WebhookKind
from domain.errors import Unauthenticated, ValidationFailed
from domain.permissions import ALERTS_WRITE
from domain.webhooks import cloud_events, event_recorder, pagerduty
from domain.webhooks.bodies import json_body
from domain.webhooks.incoming import Rejected

_PATHS: Final[Mapping[str, WebhookKind]] = {
    "/api/webhooks/alertmanager": WebhookKind.ALERTMANAGER,
    "/api/webhooks/grafana": WebhookKind.GRAFANA,
    "/api/webhooks/cloudevents": WebhookKind.CLOUD_EVENTS,
    "/api/webhooks/generic": WebhookKind.GENERIC,
}
_EVENTS_PATH: Final = "/api/webhooks/alertmanager/events"
_MOST_REJECTED_TOLD: Final = 100


def webhook_routes(
    intake: AlertIntake, tokens: Mapping[str, str], *, identify: Identify | None, most_body_bytes: int
) -> list[Route]:
    """The routes. `tokens` are those of the sources by their names. Whoever `identify` knows may post as well, if they
    have the permission to write alerts. Without tokens and without `identify`, whoever can connect may.
    """
    webhooks = _Webhooks(intake, Senders(tokens, identify), most_body_bytes)
    return [
        *(Route(path, webhooks.of(kind), methods=["POST"]) for path, kind in _PATHS.items()),
        Route(_EVENTS_PATH, webhooks.hear, methods=["POST"]),
        Route("/v2/enqueue", webhooks.enqueue, methods=["POST"]),
    ]


class Senders:
    """Knows who may post alerts, and as what source their alerts count."""

    permission: Final = ALERTS_WRITE
    """What a token of ours takes."""

    def __init__(self, tokens: Mapping[str, str], identify: Identify | None) -> None:
        self._tokens = tokens
        self._identify = identify

    async def source(self, scope: Scope, token: str, kind: WebhookKind) -> str:
        """The source whose token this is, or the name of whoever has a token of ours.

        Raises HTTPException and Forbidden for everybody else.
        """
        if not self._tokens and self._identify is None:
            return kind.lower()
        given = token.encode("utf-8", "surrogatepass")
        # All are compared, so that the time tells nothing of which one it was close to.
        found = [name for name, known in self._tokens.items() if compare_digest(known.encode(), given)]
        return found[0] if found else await self._name(scope, given)

    async def _name(self, scope: Scope, token: bytes) -> str:
        try:
            if self._identify is None or not token:
                raise Unauthenticated("no token of ours")
            actor = await self._identify(scope, {b"authorization": b"Bearer " + token})
        except Unauthenticated as error:
            message = f"A token of WEBHOOK_TOKENS is needed, or one with the scope {self.permission.scope}"
            raise HTTPException(401, message, {"WWW-Authenticate": "Bearer"}) from error
        require(actor, self.permission)
        return actor.name


class _Webhooks:
    def __init__(self, intake: AlertIntake, senders: Senders, most_body_bytes: int) -> None:
        self._intake = intake
        self._senders = senders
        self._most_body_bytes = most_body_bytes

    def of(self, kind: WebhookKind) -> Any:
        """The handler of one shape."""

        async def handle(request: Request) -> Response:
            source = await self._senders.source(request.scope, _token_of(request), kind)
            headers = _headers(request, kind)
            body = await body_of(request, most_bytes=self._most_body_bytes)
            return _told(await self._take(source, kind, body, headers))

        return handle

    async def enqueue(self, request: Request) -> Response:
        """PagerDuty's `POST /v2/enqueue`, whose routing key is the token."""
        try:
            _require_json(request)
            body = await body_of(request, most_bytes=self._most_body_bytes)
            id = new_id()
            event = pagerduty.read(json_body(body), received_at=now(), new_key=str(id))
            source = await self._senders.source(request.scope, event.routing_key, WebhookKind.PAGERDUTY)
            receipt = await self._intake.take(source, WebhookKind.PAGERDUTY, body, {}, id=id)
        except ValidationFailed as error:
            said = {"status": "invalid event", "message": "Event object is invalid", "errors": [error.message]}
            return _json(said, 400)
        except Overloaded:
            return _json({"status": "throttle exceeded", "message": "Try again in a moment"}, 503, {"Retry-After": "1"})
        said = {"status": "success", "message": "Event processed", "dedup_key": event.dedup_key}
        return _json({**said, "receipt": str(receipt.id)}, 202)

    async def hear(self, request: Request) -> Response:
        """What Alertmanager's event recorder posts: why it told nobody of alerts."""
        source = await self._senders.source(request.scope, _token_of(request), WebhookKind.ALERTMANAGER)
        _require_json(request)
        body = await body_of(request, most_bytes=self._most_body_bytes)
        muted = event_recorder.read(json_body(body), received_at=now())
        try:
            known = await self._intake.hear(source, muted)
        except Overloaded as error:
            raise _overloaded() from error
        return _json({"suppressions": len(muted), "alerts": known}, 200)

    async def _take(self, source: str, kind: WebhookKind, body: bytes, headers: Mapping[str, str]) -> Receipt:
        try:
            return await self._intake.take(source, kind, body, headers)
        except Overloaded as error:
            raise _overloaded() from error


def _overloaded() -> HTTPException:
    message = "More alerts come in than can be stored, try again in a moment"
    return HTTPException(503, message, {"Retry-After": "1"})


def _token_of(request: Request) -> str:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip()
        case "basic":
            try:
                return b64decode(given.strip(), validate=True).decode().partition(":")[2]
            except (NotBase64, UnicodeDecodeError) as error:
                raise HTTPException(401, "The Authorization header is not what Basic looks like") from error
    return request.query_params.get("token", "")


def _headers(request: Request, kind: WebhookKind) -> dict[str, str]:
    """What has to be kept beside the body. Raises HTTPException for what is not JSON, as a web page could post it."""
    if kind is not WebhookKind.CLOUD_EVENTS:
        _require_json(request)
        return {}
    kept = {name: value for name, value in request.headers.items() if name.startswith("ce-")}
    content_type = request.headers.get("content-type", "")
    if not kept and not content_type.startswith((cloud_events.STRUCTURED, cloud_events.BATCH)):
        raise HTTPException(415, f"Send a CloudEvent: as {cloud_events.STRUCTURED}, or with ce-... headers")
    if kept and content_type:
        _require_json(request)
    return {**kept, "content-type": content_type}


def _require_json(request: Request) -> None:
    if not is_json(request.headers.get("content-type", "").encode("latin-1")):
        raise HTTPException(415, "The body must be JSON: send the header Content-Type: application/json")


def _told(receipt: Receipt) -> Response:
    alerts = receipt.delivery.alerts
    rejected = [{"position": at, "reason": it.reason} for at, it in enumerate(alerts) if isinstance(it, Rejected)]
    told = {"receipt": str(receipt.id), "alerts": len(alerts), "rejected": rejected[:_MOST_REJECTED_TOLD]}
    return _json(told, 200)


def _json(content: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
