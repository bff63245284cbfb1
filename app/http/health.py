"""What load balancers, container platforms and Prometheus ask."""

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.health import Health
from app.observability.metrics import Metrics
from domain.health import HealthStatus

_UNCACHED = {"Cache-Control": "no-store"}


def health_routes(health: Health, metrics: Metrics, *, version: str) -> list[Route]:
    """`/health`, `/api/health` and `/metrics`."""

    async def liveness(_request: Request) -> Response:
        """This process runs and answers, whatever it depends on does. Restarting it would not help."""
        return _json({"status": "healthy"}, 200)

    async def readiness(_request: Request) -> Response:
        """503 only when nothing can be served: then send requests elsewhere."""
        report = await health.report()
        components = {
            component.name: {
                "status": component.status.lower(),
                "message": component.message,
                "version": component.version,
                "latency_seconds": round(component.latency_seconds, 6),
                "checked_at": component.checked_at,
                **({"circuit_breaker": component.circuit_state.lower()} if component.circuit_state else {}),
            }
            for component in report.components
        }
        body = {"status": report.status.lower(), "version": version, "components": components}
        return _json(body, 503 if report.status is HealthStatus.UNHEALTHY else 200)

    async def exposition(request: Request) -> Response:
        """The metrics of this process."""
        content_type, text = await metrics.exposition(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type})

    return [
        Route("/health", liveness),
        Route("/api/health", readiness),
        Route("/metrics", exposition),
    ]


def _json(body: object, status: int) -> Response:
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return Response(text, status, media_type="application/json", headers=_UNCACHED)
