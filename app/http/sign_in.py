"""Signing in and out over REST.

The tokens are in the answer's body and nowhere else: no cookie is set, so that no page of another origin can use them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.auth.sessions import Sessions, anonymous
from app.http.inputs import actor_of, json_object, only
from app.http.routes import GuardedRoute, Method
from app.observability.logs import request_id
from domain.access import Actor
from domain.errors import ValidationFailed
from domain.permissions import ANYBODY

_MOST_BODY_BYTES: Final = 16_384
_UNCACHED: Final = {"Cache-Control": "no-store"}  # RFC 6749, section 5.1

Identify = Callable[[Request], Awaitable[Actor]]


def sign_in_routes(sessions: Sessions | None, identify: Identify) -> list[Route]:
    """The routes below `/api/auth`. Without sessions, nobody has to sign in, and nobody can."""
    routes = _SignIn(sessions, identify)
    return [
        Route("/api/auth/login", routes.sign_in, methods=["POST"]),
        Route("/api/auth/refresh", routes.refresh, methods=["POST"]),
        Route("/api/auth/logout", routes.sign_out, methods=["POST"]),
        GuardedRoute("/api/auth/password", POST=Method(ANYBODY, routes.change_password)),
        GuardedRoute("/api/auth/me", GET=Method(ANYBODY, routes.who_am_i)),
    ]


class _SignIn:
    def __init__(self, sessions: Sessions | None, identify: Identify) -> None:
        self._known_sessions = sessions
        self._identify = identify

    @property
    def _sessions(self) -> Sessions:
        if self._known_sessions is None:
            raise HTTPException(404, "Nobody has to sign in here (AUTH_ENABLED=false)")
        return self._known_sessions

    async def sign_in(self, request: Request) -> Response:
        """Begin a session with an email and a password."""
        sessions = self._sessions
        body = await _body(request, "email", "password")
        return _json(await sessions.sign_in(_text(body, "email"), _text(body, "password"), asker=_asker(request)))

    async def refresh(self, request: Request) -> Response:
        """Exchange a refresh token for the next tokens."""
        sessions = self._sessions
        body = await _body(request, "refresh_token")
        return _json(await sessions.refresh(_text(body, "refresh_token"), asker=_asker(request)))

    async def sign_out(self, request: Request) -> Response:
        """End a session: that of a refresh token in the body, or that of whoever asks."""
        sessions = self._sessions
        refresh_token = None
        if request.headers.get("content-type") is not None:
            refresh_token = (await _body(request, "refresh_token")).get("refresh_token")
        if refresh_token is not None and not isinstance(refresh_token, str):
            raise ValidationFailed("refresh_token must be a text", ("refresh_token",))
        asker = _asker(request) if refresh_token is not None else await self._identify(request)
        await sessions.sign_out(refresh_token, asker=asker)
        return Response(status_code=204, headers=_UNCACHED)

    async def change_password(self, request: Request) -> Response:
        """Change one's own password."""
        sessions, actor = self._sessions, actor_of(request)
        body = await _body(request, "current_password", "new_password")
        await sessions.change_password(_text(body, "current_password"), body.get("new_password"), actor=actor)
        return Response(status_code=204, headers=_UNCACHED)

    async def who_am_i(self, request: Request) -> Response:
        """Whoever asks."""
        actor = actor_of(request)
        return _json(
            {
                "id": None if actor.id is None else str(actor.id),
                "name": actor.name,
                "role": actor.role.lower(),
                "scopes": None if actor.scopes is None else sorted(scope.value for scope in actor.scopes),
                "expires_at": actor.expires_at,
            }
        )


def _asker(request: Request) -> Actor:
    return anonymous(request_id.get(), request.client.host if request.client else None)


async def _body(request: Request, *names: str) -> dict[str, Any]:
    body = await json_object(request, most_bytes=_MOST_BODY_BYTES)
    only(body, frozenset(names))
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise ValidationFailed(f"{name} is required, and must be a text", (name,))
    return value


def _json(value: object) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_UTC_Z), media_type="application/json", headers=_UNCACHED)
