"""What analyses say taken together: similar incidents, incidents with one cause, and how often the engine was right."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from actions import jobs
from actions.analyses import KIND
from actions.investigate import Investigation
from db.correlation import analyses, correlations, root_causes
from db.database import Transaction
from domain.correlation import AnalysisStatus, CorrelationKind, RootCauseKind
from telemetry_clients.instances import Telemetry
from tests.schema.conftest import Api

QUALITY = """query($range: TimeRange!) { analysisQuality(range: $range) {
  count top1Ratio top3Ratio brierScore
  calibration { confidenceFrom confidenceTo count meanConfidence top1Ratio }
} }"""
SIMILAR = """query($id: ID!) { incident(id: $id) { similarIncidents {
  incident { title } score sharedServices hasSameCause sharedPatterns resolution
} } }"""


async def service(api: Api, name: str) -> UUID:
    created = await api.changed("createService", "service { id }", input={"name": name})
    return UUID(created["id"])


async def opened(api: Api, title: str, *services: str, **known: Any) -> UUID:
    known |= {"title": title, "severity": "HIGH", "services": [*services]}
    return UUID((await api.changed("createIncident", "incident { id }", input=known))["id"])


async def analysed(
    api: Api, incident: UUID, *causes: tuple[UUID, RootCauseKind], confidence: float = 0.9, pattern: str | None = None
) -> None:
    """An analysis of an incident, shown, with these causes in this order."""

    async def write(tx: Transaction) -> None:
        run = await tx.insert(
            analyses,
            incident_id=incident,
            status=AnalysisStatus.COMPLETE,
            is_shown=True,
            engine_version="1.0.0",
            started_at=tx.now,
            completed_at=tx.now,
            confidence=confidence,
            summary="",
        )
        for rank, (id, kind) in enumerate(causes, 1):
            values = {"analysis_id": run["id"], "rank": rank, "service_id": id, "kind": kind, "explanation": ""}
            await tx.insert(root_causes, score=1 / rank, confidence=confidence / rank, **values)
        if pattern is not None:
            found = {"incident_id": incident, "analysis_id": run["id"], "kind": CorrelationKind.LOG, "name": pattern}
            await tx.insert(correlations, service_id=causes[0][0], summary="", score=0.5, **found)

    await api.database.transact(write, now=api.now)


async def judged(api: Api, incident: UUID, service_id: UUID, status: str) -> None:
    known = {"incidentId": str(incident), "title": "It is this", "serviceId": str(service_id), "status": status}
    created = await api.changed("createHypothesis", "hypothesis { id judgedAt }", input=known)
    assert (created["judgedAt"] is None) == (status == "PROPOSED")


async def quality(api: Api) -> dict[str, Any]:
    ends = {"from": (api.now - timedelta(days=1)).isoformat(), "to": (api.now + timedelta(days=1)).isoformat()}
    answer = await api(QUALITY, range=ends)
    assert answer.keys() == {"data"}, answer
    found: dict[str, Any] = answer["data"]["analysisQuality"]
    return found


async def test_quality_is_counted_from_what_people_have_confirmed_and_rejected(api: Api) -> None:
    names = [await service(api, name) for name in ("a", "b", "c", "d")]
    kinds = [(id, RootCauseKind.ERRORS) for id in names]
    for number in range(9):
        incident = await opened(api, f"Confirmed {number}", "a")
        await analysed(api, incident, *kinds, confidence=0.9)
        await judged(api, incident, names[0] if number < 6 else names[2], "CONFIRMED")
    unjudged = await opened(api, "Nobody has said", "a")
    await analysed(api, unjudged, *kinds)
    assert (await quality(api)) | {"calibration": None} == {
        "count": 9,
        "top1Ratio": None,
        "top3Ratio": None,
        "brierScore": None,
        "calibration": None,
    }, "nine are too few to say anything"
    rejected = await opened(api, "Rejected", "a")
    await analysed(api, rejected, *kinds, confidence=0.3)
    for id in names[:3]:
        await judged(api, rejected, id, "REJECTED")

    found = await quality(api)

    assert (found["count"], found["top1Ratio"], found["top3Ratio"]) == (10, 0.6, 0.9)
    assert round(found["brierScore"], 3) == round((6 * 0.01 + 3 * 0.81 + 0.09) / 10, 3)
    counts = [bucket["count"] for bucket in found["calibration"]]
    assert counts == [0, 1, 0, 0, 9]
    assert found["calibration"][4]["confidenceTo"] == 1.0
    assert round(found["calibration"][4]["top1Ratio"], 3) == 0.667


async def test_a_verdict_can_be_taken_back(api: Api, incident: str) -> None:
    known = {"incidentId": incident, "title": "It is this", "status": "CONFIRMED"}
    created = await api.changed("createHypothesis", "hypothesis { id judgedAt }", input=known)
    assert created["judgedAt"] == api.now.isoformat()
    changed = {"id": created["id"], "status": "INVESTIGATING"}
    assert (await api.changed("updateHypothesis", "hypothesis { judgedAt }", input=changed))["judgedAt"] is None


async def test_similar_incidents_come_with_what_ended_them(api: Api) -> None:
    cause = await service(api, "payment"), RootCauseKind.LATENCY
    past = await opened(api, "Nobody could pay", "checkout", "frontend")
    await analysed(api, past, cause, pattern="0123456789abcdef")
    await api.changed("resolveIncident", "incident { id }", id=str(past), resolution="Raised the pool of payment.")
    other = await opened(api, "Search is slow", "search")
    await api.changed("resolveIncident", "incident { id }", id=str(other), resolution="Reindexed.")
    now = await opened(api, "Customers cannot pay", "checkout", "frontend", "cart")
    await analysed(api, now, cause, pattern="0123456789abcdef")

    answer = await api(SIMILAR, id=str(now))

    [similar] = answer["data"]["incident"]["similarIncidents"]
    assert similar == {
        "incident": {"title": "Nobody could pay"},
        "score": similar["score"],
        "sharedServices": 2,
        "hasSameCause": True,
        "sharedPatterns": 1,
        "resolution": "Raised the pool of payment.",
    }
    assert 0.7 < similar["score"] < 0.8


async def test_an_incident_that_hurts_the_same_services_is_linked_and_left_alone(api: Api) -> None:
    await service(api, "payment")
    await opened(api, "Nobody can pay", "payment")
    second = await opened(api, "Payments fail", "payment")
    async with api.database.writing(api.now) as tx:
        claimed = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=10)
    [job] = [it for it in claimed if it.subject == str(second)]
    await Investigation(database=api.database, telemetry=Telemetry(), now=lambda: api.now).run(job)

    document = """query($id: ID!) { incident(id: $id) {
      analysis { mergeSuggestions { id } }
      correlations(kind: [INCIDENT]) {
        nodes { relatedIncident { title status } score summary scoreComponents { weight value } }
      }
    } }"""
    found = (await api(document, id=str(second)))["data"]["incident"]
    [link] = found["correlations"]["nodes"]
    assert link["relatedIncident"] == {"title": "Nobody can pay", "status": "OPEN"}
    assert "Both affect payment" in link["summary"]
    parts = sum(part["weight"] * part["value"] for part in link["scoreComponents"])
    assert round(parts, 6) == link["score"]
    assert found["analysis"]["mergeSuggestions"] == [], "they have no cause in common"
