"""Routes that say which permission each of their methods takes, and let nobody through who has it not."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.http.inputs import actor_of
from domain.access import Permission, require

Handler = Callable[[Request], Awaitable[Response]]


class Method(NamedTuple):
    """What answers a method of a path, and for whom."""

    permission: Permission
    handler: Handler


class GuardedRoute(Route):
    """One route for all methods of a path, so that a refused method is told which there are.

    Raises Forbidden for whoever has not the permission of the method.
    """

    def __init__(self, path: str, **methods: Method) -> None:
        if "GET" in methods:
            methods["HEAD"] = methods["GET"]

        async def handle(request: Request) -> Response:
            method = methods[request.method]
            require(actor_of(request), method.permission)
            return await method.handler(request)

        self.permissions: Mapping[str, Permission] = {name: method.permission for name, method in methods.items()}
        super().__init__(path, handle, methods=list(methods))
