"""Why it hurts: an incident is analysed with everything that the backends know, whichever of them answer."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from actions import jobs
from actions.analyses import KIND
from actions.investigate import Investigation
from domain.explore import Explore
from domain.telemetry import TelemetryBackend
from tests.actions.shop_story import NOW, Shop, measured_shop, open_shop_incident
from tests.schema.conftest import Api, api, operations

__all__ = ["api", "operations"]  # fixtures

ANALYSIS = """query($id: ID!) { incident(id: $id) {
  analysis {
    id status trigger isShown engineVersion confidence summary whyNot evidenceDigest
    rootCauses {
      rank service { name } kind score confidence explanation startedAt
      scoreComponents { name weight value explanation evidence { id } }
      evidence { kind service { name } query link backend evidence }
    }
    impacts { service { name } level source score }
    recommendations { kind title rationale action runbookUrl evidence { id } }
    gaps { backend code message }
  }
  correlations(first: 100) { totalCount nodes { id kind name summary score service { name } query link } }
  hypotheses { id title isAutomatic status confidence causeKind service { name } steps { title action } }
  impacts { service { name } level source score }
  timeline(first: 100) { nodes { type title } }
} }"""


@pytest.fixture(scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    async with measured_shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
async def incident(api: Api) -> str:
    api.now = NOW
    return await open_shop_incident(api)


def investigation(api: Api, shop: Shop, **options: Any) -> Investigation:
    explore = Explore("https://grafana.example.org", {it: it.value.lower() for it in TelemetryBackend})
    given = {"telemetry": shop.telemetry, **options}
    return Investigation(database=api.database, now=lambda: api.now, explore=explore, **given)


async def investigate(api: Api, shop: Shop, **options: Any) -> None:
    """Do the work that waits, once, as a job that is claimed and ended."""
    async with api.database.writing(api.now) as tx:
        [job] = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=1)
    await investigation(api, shop, **options).run(job)
    async with api.database.writing(api.now) as tx:
        assert await jobs.finish(tx, job)


async def shown(api: Api, incident: str) -> dict[str, Any]:
    answer = await api(ANALYSIS, id=incident)
    assert answer.keys() == {"data"}, answer
    found: dict[str, Any] = answer["data"]["incident"]
    return found


async def test_the_cause_is_found_behind_those_who_suffer(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop)

    found = await shown(api, incident)
    import json

    print(json.dumps(found, indent=1)[:6000])
    analysis = found["analysis"]
    assert analysis["status"] == "COMPLETE"
    assert analysis["rootCauses"][0]["service"]["name"] == "payment"
