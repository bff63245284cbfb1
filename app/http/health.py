"""What load balancers, container platforms and Prometheus ask."""

from collections.abc import Awaitable, Callable
from hmac import compare_digest

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.health import Health
from app.observability.metrics import Metrics
from domain.health import HealthStatus

_UNCACHED = {"Cache-Control": "no-store"}


def health_routes(
    health: Health,
    metrics: Metrics,
    *,
    version: str,
    metrics_token: str | None,
    is_known: Callable[[Request], Awaitable[bool]],
) -> list[Route]:
    """`/health`, `/api/health` and `/metrics`, which takes `metrics_token`, where there is one.

    `/api/health` tells who `is_known` why a component is as it is, and everybody else how it is.
    """

    async def liveness(_request: Request) -> Response:
        """This process runs and answers, whatever it depends on does. Restarting it would not help."""
        return _json({"status": "healthy"}, 200)

    async def readiness(request: Request) -> Response:
        """503 only when nothing can be served: then send requests elsewhere."""
        report, tells_details = await health.report(), await is_known(request)
        components = {
            component.name: {"status": component.status.lower()}
            if not tells_details
            else {
                "status": component.status.lower(),
                "message": component.message,
                "version": component.version,
                "latency_seconds": round(component.latency_seconds, 6),
                "checked_at": component.checked_at,
                **({"circuit_breaker": component.circuit_state.lower()} if component.circuit_state else {}),
            }
            for component in report.components
        }
        body = {"status": report.status.lower(), "components": components}
        if tells_details:
            body["version"] = version
        return _json(body, 503 if report.status is HealthStatus.UNHEALTHY else 200)

    async def exposition(request: Request) -> Response:
        """The metrics of this process."""
        if metrics_token is not None and not _shows(request, metrics_token):
            raise HTTPException(401, "The token of METRICS_TOKEN is needed", {"WWW-Authenticate": "Bearer"})
        content_type, text = await metrics.exposition(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type})

    return [
        Route("/health", liveness),
        Route("/api/health", readiness),
        Route("/metrics", exposition),
    ]


def _shows(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and compare_digest(given.strip().encode(), token.encode())


def _json(body: object, status: int) -> Response:
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return Response(text, status, media_type="application/json", headers=_UNCACHED)
