"""The explorer: GraphiQL, served from our own files at the address of the endpoint itself.

`make explorer` builds `explorer/dist`: `index.html`, and below `graphql/assets` files whose names carry a hash of their
content. The page refers to them relative to its own address, so it works under whatever prefix a proxy adds.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from domain.access import Actor, Permission, require

Identify = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[Actor]]

DIST = Path(__file__).parents[2] / "explorer" / "dist"

# Monaco writes <style> elements and style attributes for themes, sizes and positions: styles are the one thing inline.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

NOT_BUILT = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Reliability Studio</title>
  </head>
  <body>
    <h1>The explorer is not built</h1>
    <p>The API answers all the same: POST a query to this address.</p>
    <p>To build the explorer, run <code>make explorer</code> in the source tree and load this page again.</p>
  </body>
</html>
"""


def explorer_route(path: str, identify: Identify, permission: Permission | None, *, is_open: bool) -> Route:
    """The page: for whoever has a permission, or nobody where that is None; for everybody where it `is_open`."""

    async def page(request: Request) -> Response:
        if permission is None:
            raise HTTPException(404)
        if not is_open:
            require(await identify(request.scope, dict(request.scope["headers"])), permission)
        return explorer_page(request)

    return Route(path, page)


def explorer_page(request: Request, dist: Path = DIST) -> Response:
    """Answer a browser that opens the endpoint: the explorer, or how to build it. Always status 200."""
    try:
        page = (dist / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        page = NOT_BUILT
    # The same address answers API clients with JSON, and names files that the next build replaces.
    return HTMLResponse(page, headers={**PAGE_HEADERS, "Cache-Control": "no-cache", "Vary": "Accept"})


def explorer_assets(dist: Path = DIST) -> Mount:
    """Serve the page's scripts, workers, styles and fonts, compressed and cached for good; 404 while not built."""
    files = _HashedFiles(directory=dist / "graphql" / "assets", check_dir=False)
    return Mount("/graphql/assets", files, middleware=[Middleware(GZipMiddleware, compresslevel=6)])


class _HashedFiles(StaticFiles):
    async def check_config(self) -> None:
        """Accept that the folder is missing: it may be built while we run."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        # A worker obeys the policy that came with its own file, not that of the page.
        response.headers.update(PAGE_HEADERS)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
