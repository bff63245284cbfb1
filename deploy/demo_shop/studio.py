"""What the shop tells Reliability Studio: who its services are, and what was deployed."""

import asyncio
from typing import Any, Final

import httpx

from deploy.demo_shop.logs import Journal
from deploy.demo_shop.services import BURN_RATES, OBJECTIVES, SERVICES, Objective

_TRY_AGAIN_SECONDS: Final = 3.0
_KNOWN: Final = "query ($names: [String!]) { services(filter: { name: $names }, first: 50) { nodes { name } } }"
_CREATE: Final = """mutation ($input: CreateServiceInput!) {
  createService(input: $input) { errors { code message } service { id } }
}"""
_KNOWN_SLOS: Final = """query ($names: [String!]) {
  slos(filter: { services: $names }, first: 100) { nodes { name service { name } } }
}"""
_PROMISE: Final = """mutation ($input: CreateSLOInput!) {
  createSlo(input: $input) { errors { code message } slo { id } }
}"""
_RECORD: Final = """mutation ($input: RecordDeploymentInput!) {
  recordDeployment(input: $input) { errors { code message } deployment { id } }
}"""
_FINISH: Final = """mutation ($id: ID!) {
  finishDeployment(id: $id, outcome: ROLLED_BACK) { errors { code message } }
}"""


class StudioError(Exception):
    """Reliability Studio does not answer, or refuses; says why."""


class Studio:
    """The API at a base URL."""

    def __init__(self, http: httpx.AsyncClient, url: str, journal: Journal, *, token: str | None = None) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url.rstrip("/") + "/graphql"
        self._journal = journal

    async def register(self) -> None:
        """Add the shop's services that the catalog does not know, each after those that it depends on. Raises
        StudioError.
        """
        names = [service.name for service in SERVICES]
        known = {node["name"] for node in (await self._ask(_KNOWN, names=names))["services"]["nodes"]}
        waiting = [service for service in SERVICES if service.name not in known]
        while waiting:
            service = next(
                service for service in waiting if not {other.name for other in waiting} & {*service.depends_on}
            )
            given = {
                "name": service.name,
                "description": service.description,
                "tier": service.tier,
                "labels": {"namespace": "demo-shop"},
                "dependsOn": list(service.depends_on),
            }
            await self._write(_CREATE, "createService", input=given)
            waiting.remove(service)

    async def promise(self) -> None:
        """Add the objectives that are not there. Raises StudioError, also while Prometheus has seen no requests yet."""
        names = [service.name for service in SERVICES]
        nodes = (await self._ask(_KNOWN_SLOS, names=names))["slos"]["nodes"]
        known = {(node["service"]["name"], node["name"]) for node in nodes}
        for each in OBJECTIVES:
            if (each.service, each.name) not in known:
                given = {"service": each.service, "name": each.name, "objective": each.objective, "windowDays": 7}
                measured = {"indicator": _indicator(each), "alerting": {"burnRates": BURN_RATES}}
                await self._write(_PROMISE, "createSlo", input={**given, **measured})

    async def keep_registering(self) -> None:
        """Register as soon as the studio answers, and promise as soon as there is something to measure."""
        while True:
            try:
                await self.register()
                await self.promise()
            except StudioError as error:
                self._journal.write("demo-shop", "warning", f"not in the catalog yet: {error}")
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            else:
                self._journal.write("demo-shop", "info", "all services and their objectives are in the catalog")
                return

    async def record_deployment(self, service: str, version: str, description: str) -> str:
        """Tell of a deployment; return its id. Raises StudioError."""
        given = {"service": service, "version": version, "description": description}
        return str((await self._write(_RECORD, "recordDeployment", input=given))["deployment"]["id"])

    async def roll_back(self, deployment_id: str) -> None:
        """Tell that a deployment was rolled back. Raises StudioError."""
        await self._write(_FINISH, "finishDeployment", id=deployment_id)

    async def _write(self, document: str, field: str, **variables: Any) -> dict[str, Any]:
        payload: dict[str, Any] = (await self._ask(document, **variables))[field]
        if payload["errors"]:
            raise StudioError("; ".join(error["message"] for error in payload["errors"]))
        return payload

    async def _ask(self, document: str, **variables: Any) -> dict[str, Any]:
        try:
            answer = await self._http.post(
                self._url, json={"query": document, "variables": variables}, headers=self._headers
            )
            answer.raise_for_status()
            body: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise StudioError(f"{self._url}: {str(error) or type(error).__name__}") from error
        if body.get("errors"):
            raise StudioError(f"{self._url}: {body['errors'][0]['message']}")
        data: dict[str, Any] = body["data"]
        return data


def _indicator(objective: Objective) -> dict[str, Any]:
    selected = f'job="demo-shop", service_name="{objective.service}"'
    requests = "http_server_request_duration_seconds"
    if objective.within_seconds is not None:
        histogram = f"{requests}{{{selected}}}"
        return {"latency": {"histogram": histogram, "thresholdSeconds": objective.within_seconds}}
    good = f'{requests}_count{{{selected}, http_response_status_code!~"5.."}}'
    return {"ratio": {"good": good, "total": f"{requests}_count{{{selected}}}"}}
