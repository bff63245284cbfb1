"""The switches of the shop over HTTP."""

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.demo_shop.faults import LESSONS, Fault
from deploy.demo_shop.shop import Shop

MOST_SECONDS = 86_400


def guide(url: str) -> str:
    """What can be broken, and how, for whoever opens the control in a browser."""
    lines = ["A shop that can be broken on purpose.", ""]
    for fault, lesson in LESSONS.items():
        lines += [f"{fault}  ({', '.join(lesson.services)})", f"    {lesson.does}", f"    Look: {lesson.look}", ""]
    lines += [
        f"Break:  curl -X POST {url}/faults/slow-database -d '{{\"seconds\": 120}}'",
        f"Heal:   curl -X DELETE {url}/faults/slow-database",
        f"See:    curl {url}/status",
        "",
    ]
    return "\n".join(lines)


def control(shop: Shop) -> Starlette:
    """`/` explains, `/status` tells, `/faults/{name}` switches (POST and DELETE), `/health` is for probes."""

    async def explain(request: Request) -> Response:
        return PlainTextResponse(guide(str(request.base_url).rstrip("/")))

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "healthy"})

    async def status(_request: Request) -> Response:
        return JSONResponse(shop.status())

    async def break_it(request: Request) -> Response:
        fault = _fault(request)
        if fault is None:
            return _unknown(request)
        try:
            given = orjson.loads(await request.body() or b"{}")
            seconds = given.get("seconds") if isinstance(given, dict) else given
        except orjson.JSONDecodeError:
            return JSONResponse({"error": 'The body is no JSON. Send {"seconds": 120}, or nothing.'}, 400)
        if seconds is not None and not (
            isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds <= MOST_SECONDS
        ):
            return JSONResponse({"error": f"seconds is {seconds!r}. It has to be a number up to {MOST_SECONDS}."}, 400)
        await shop.break_it(fault, seconds)
        return JSONResponse(shop.status())

    async def heal(request: Request) -> Response:
        fault = _fault(request)
        if fault is None:
            return _unknown(request)
        await shop.heal(fault)
        return JSONResponse(shop.status())

    return Starlette(
        routes=[
            Route("/", explain),
            Route("/health", health),
            Route("/status", status),
            Route("/faults/{name}", break_it, methods=["POST"]),
            Route("/faults/{name}", heal, methods=["DELETE"]),
        ]
    )


def _fault(request: Request) -> Fault | None:
    name = request.path_params["name"]
    return Fault(name) if name in {*Fault} else None


def _unknown(request: Request) -> Response:
    known = ", ".join(Fault)
    return JSONResponse({"error": f"There is no fault {request.path_params['name']!r}. There are: {known}."}, 404)
