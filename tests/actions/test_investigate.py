"""Why it hurts: an incident is analysed with everything that the backends know, whichever of them answer."""

import zlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, text

from actions import jobs
from actions.analyses import KIND
from actions.investigate import Investigation, answer
from actions.jobs import Job
from app.observability.analyses import AnalysisMetrics
from db.alerts import alerts
from db.correlation import analysis_records
from db.services import services
from domain.alerts import AlertStatus
from domain.explore import Explore
from domain.incidents import Severity
from domain.telemetry import TelemetryBackend
from engines.correlation.record import read_evidence, write
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.actions.shop_story import NOW, STARTED_AT, Shop, measured_shop, open_shop_incident
from tests.schema.conftest import Api, api, operations
from tests.telemetry_clients.local_server import local_server
from tests.telemetry_clients.tempo_server import TempoServer

__all__ = ["api", "operations"]  # fixtures

ANALYSIS = """query($id: ID!) { incident(id: $id) {
  analysis {
    id status trigger isShown engineVersion confidence summary evidenceDigest
    rootCauses {
      rank service { name } kind score confidence explanation
      scoreComponents { weight value evidence { id } }
      evidence { kind service { name } query link backend evidence }
    }
    impacts { service { name } level source score }
    recommendations { kind title rationale action runbookUrl evidence { id } }
    gaps { backend code message }
  }
  analyses { totalCount nodes { id status isShown isSuperseded trigger } }
  correlations(first: 100) { nodes { id kind name service { name } } }
  hypotheses { id title isAutomatic status confidence causeKind judgedAt service { name } steps { title action } }
  impacts { service { name } level source score }
  timeline(first: 100) { nodes { type title } }
} }"""
EVENTS = """select type::text, count(*) from outbox where incident_id = cast(:id as uuid) group by type"""


@pytest.fixture(scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    async with measured_shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
async def incident(api: Api) -> str:
    """The id of an incident that hurts frontend and checkout."""
    api.now = NOW
    return await open_shop_incident(api)


def investigation(api: Api, telemetry: Telemetry, **options: Any) -> Investigation:
    explore = Explore("https://grafana.example.org", {it: f"our-{it.value.lower()}" for it in TelemetryBackend})
    return Investigation(database=api.database, telemetry=telemetry, now=lambda: api.now, explore=explore, **options)


async def claimed(api: Api) -> Job:
    async with api.database.writing(api.now) as tx:
        [job] = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=1)
    return job


async def investigate(api: Api, telemetry: Telemetry, **options: Any) -> None:
    """Do the work that waits, once, as a job that is claimed and ended."""
    job = await claimed(api)
    await investigation(api, telemetry, **options).run(job)
    async with api.database.writing(api.now) as tx:
        assert await jobs.finish(tx, job)


async def shown(api: Api, incident: str) -> dict[str, Any]:
    answer = await api(ANALYSIS, id=incident)
    assert answer.keys() == {"data"}, answer
    found: dict[str, Any] = answer["data"]["incident"]
    return found


async def events(api: Api, incident: str) -> dict[str, int]:
    async with api.database.reading() as connection:
        return {row[0]: row[1] for row in await connection.execute(text(EVENTS), {"id": incident})}


async def test_the_cause_is_found_behind_those_who_suffer(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop.telemetry)

    found = await shown(api, incident)
    analysis = found["analysis"]
    assert (analysis["status"], analysis["gaps"], analysis["trigger"]) == ("COMPLETE", [], "INCIDENT_CREATED")
    first = analysis["rootCauses"][0]
    assert first["service"]["name"] == "payment"
    assert {"METRIC", "TRACE", "DEPLOYMENT"} <= {it["kind"] for it in first["evidence"]}
    for cause in analysis["rootCauses"]:
        parts = sum(part["weight"] * part["value"] for part in cause["scoreComponents"])
        assert cause["score"] == pytest.approx(parts, abs=1e-6)
    told = [entry["title"] for entry in found["timeline"]["nodes"] if entry["type"] == "CORRELATION"]
    assert [title for title in told if title.startswith("Probable cause: payment")]


async def test_evidence_opens_the_same_query_in_grafana(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop.telemetry)

    found = await shown(api, incident)
    evidence = [it for cause in found["analysis"]["rootCauses"] for it in cause["evidence"] if it["backend"]]
    assert {it["backend"] for it in evidence} >= {"PROMETHEUS", "TEMPO"}
    for it in evidence:
        url = urlsplit(it["link"])
        assert (url.netloc, url.path) == ("grafana.example.org", "/explore")
        pane = orjson.loads(parse_qs(url.query)["panes"][0])["evidence"]
        assert pane["datasource"] == f"our-{it['backend'].lower()}"
        assert it["query"] in pane["queries"][0].values()
        assert len(it["evidence"]["digest"]) == 32
        assert it["evidence"]["start"] < it["evidence"]["end"]


async def test_advice_hypotheses_and_steps_come_with_the_cause(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop.telemetry)

    found = await shown(api, incident)
    advice = {it["kind"]: it for it in found["analysis"]["recommendations"]}
    assert advice["ROLL_BACK"]["title"] == "Roll back payment from v2.4.1 to v2.4.0"
    assert advice["FOLLOW_RUNBOOK"]["runbookUrl"] == "https://runbooks.example.org/payment"
    assert all(it["evidence"] for it in advice.values())
    [first, *_] = found["hypotheses"]
    assert (first["isAutomatic"], first["status"], first["service"]["name"]) == (True, "PROPOSED", "payment")
    assert [step for step in first["steps"] if 'service="payment"' in step["action"]], "a query that is ready"
    assert (await events(api, incident)).keys() >= {"CORRELATION_FOUND", "ANALYSIS_COMPLETED", "STEP_CHANGED"}


async def test_who_suffers_is_said_but_people_always_win(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop.telemetry)
    said = {it["service"]["name"]: it for it in (await shown(api, incident))["impacts"]}
    assert (said["frontend"]["source"], said["frontend"]["score"]) == ("MANUAL", None)
    assert said["payment"]["source"] == "DETECTION"
    assert 0 < said["payment"]["score"] <= 1

    service = (await api('{ serviceByName(name: "payment") { id } }'))["data"]["serviceByName"]["id"]
    await api.changed("setServiceImpact", "incident { id }", incidentId=incident, serviceId=service, level=None)
    api.wait(seconds=10)
    await investigate(api, shop.telemetry)

    found = await shown(api, incident)
    assert "payment" not in {it["service"]["name"] for it in found["impacts"]}
    assert "payment" in {it["service"]["name"] for it in found["analysis"]["impacts"]}, "the analysis stands by it"


async def test_a_stored_run_gives_the_same_answer_again(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop.telemetry)

    async with api.database.reading() as connection:
        [record] = (await connection.execute(select(analysis_records))).mappings().all()
    evidence = read_evidence(zlib.decompress(record["evidence"]))
    assert write(answer(evidence)) == zlib.decompress(record["answer"])


async def test_a_new_run_is_shown_and_the_old_one_kept_to_compare(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop.telemetry)
    before = (await shown(api, incident))["analysis"]["id"]
    await api.changed("analyzeIncident", "incident { id }", id=incident)
    await investigate(api, replace(shop.telemetry, loki=Instances("Loki")))

    found = await shown(api, incident)
    after = found["analysis"]["id"]
    assert [(it["id"], it["isShown"]) for it in found["analyses"]["nodes"]] == [(after, True), (before, False)]
    assert (found["analysis"]["status"], found["analysis"]["trigger"]) == ("PARTIAL", "REQUESTED")
    automatic = [it["causeKind"] for it in found["hypotheses"] if it["service"]["name"] == "payment"]
    assert len(automatic) == len(set(automatic)), "the same hypothesis is not made twice"
    document = """query($a: ID!, $b: ID!) { compareAnalyses(a: $a, b: $b) {
      a { id } b { id } hasOtherEngine hasSameEvidence hasSameAnswer hasSameIncident
      causes { service { name } kind rankA rankB scoreA scoreB }
    } }"""
    compared = (await api(document, a=before, b=after))["data"]["compareAnalyses"]
    assert (compared["a"]["id"], compared["b"]["id"]) == (before, after)
    assert (compared["hasOtherEngine"], compared["hasSameEvidence"], compared["hasSameIncident"]) == (
        False,
        False,
        True,
    )
    assert compared["causes"][0]["rankB"] == 1


async def test_incidents_with_one_cause_are_linked_and_a_merge_suggested(api: Api, shop: Shop, incident: str) -> None:
    await investigate(api, shop.telemetry)
    known = {"title": "Checkout answers 503", "severity": "HIGH", "services": ["checkout"]}
    known["startedAt"] = STARTED_AT.isoformat()
    second = await api.changed("createIncident", "incident { id }", input=known)
    await investigate(api, shop.telemetry)

    document = """query($id: ID!) { incident(id: $id) { analysis {
      mergeSuggestions { relatedIncident { id status } summary }
    } } }"""
    answer = await api(document, id=second["id"])
    [suggestion] = answer["data"]["incident"]["analysis"]["mergeSuggestions"]
    assert suggestion["relatedIncident"] == {"id": incident, "status": "OPEN"}, "suggested, and nothing more"
    assert "payment is to blame" in suggestion["summary"]

    [mirrored] = (await api(document, id=incident))["data"]["incident"]["analysis"]["mergeSuggestions"]
    assert mirrored["relatedIncident"] == {"id": second["id"], "status": "OPEN"}, "the older one tells of it too"

    await api.changed("analyzeIncident", "incident { id }", id=incident)
    await investigate(api, shop.telemetry)
    again = await api(document, id=incident)
    assert [it["relatedIncident"]["id"] for it in again["data"]["incident"]["analysis"]["mergeSuggestions"]] == [
        second["id"]
    ], "once, whoever says it"


@pytest.mark.parametrize("down", [*TelemetryBackend])
async def test_a_backend_that_is_down_is_a_gap(api: Api, shop: Shop, incident: str, down: TelemetryBackend) -> None:
    async with Transport(Endpoint(backend=down.value.capitalize(), url="http://127.0.0.1:9")) as nowhere:
        broken: dict[str, Any] = {
            "prometheus": Instances("Prometheus", {DEFAULT: Prometheus(nowhere)}),
            "loki": Instances("Loki", {DEFAULT: type(shop.telemetry.loki.get())(nowhere)}),
            "tempo": Instances("Tempo", {DEFAULT: Tempo(nowhere)}),
        }
        name = down.value.lower()
        telemetry = Telemetry(
            **{other: getattr(shop.telemetry, other) for other in broken if other != name}, **{name: broken[name]}
        )
        await investigate(api, telemetry)

    analysis = (await shown(api, incident))["analysis"]
    assert analysis["status"] == "PARTIAL"
    assert {(gap["backend"], gap["code"]) for gap in analysis["gaps"]} == {(down.value, "TELEMETRY_UNAVAILABLE")}
    assert analysis["rootCauses"], "partial, and not empty"


async def test_firing_alerts_give_ranked_causes_where_nothing_can_be_measured(api: Api, incident: str) -> None:
    fired = {"frontend": "HighErrorRate", "payment": "ServiceDown"}
    async with api.database.writing(api.now) as tx:
        for service, name in fired.items():
            of = await tx.execute(select(services.c.id).where(services.c.name == service))
            known = {"status": AlertStatus.FIRING, "severity": Severity.HIGH, "source": "tests"}
            known |= {"name": name, "fingerprint": name, "starts_at": STARTED_AT, "service_id": of.scalar_one()}
            await tx.insert(alerts, **known)
    await api.changed("analyzeIncident", "incident { id }", id=incident)
    await investigate(api, Telemetry())

    analysis = (await shown(api, incident))["analysis"]
    first = analysis["rootCauses"][0]
    assert (first["service"]["name"], first["kind"]) in (("payment", "ERRORS"), ("payment", "DEPLOYMENT"))
    assert "ServiceDown fires on payment" in analysis["summary"]
    assert first["confidence"] > 0
    assert {"ALERT"} <= {it["kind"] for it in first["evidence"]}


async def test_traces_that_several_tempos_hold_are_put_together(api: Api, shop: Shop, incident: str) -> None:
    theirs = TempoServer(traces=[replace(it, shown=("payment",)) for it in shop.tempo.traces])
    ours = TempoServer(traces=[replace(it, shown=("frontend", "checkout", "inventory")) for it in shop.tempo.traces])
    payment = (await api('{ serviceByName(name: "payment") { id } }'))["data"]["serviceByName"]["id"]
    moved = {"id": payment, "telemetryInstances": {"tempo": "payments"}}
    await api.changed("updateService", "service { id }", input=moved)
    async with (
        local_server(theirs) as one,
        local_server(ours) as other,
        Transport(Endpoint(backend="Tempo", url=one.url, instance="payments")) as payments,
        Transport(Endpoint(backend="Tempo", url=other.url)) as rest,
    ):
        tempos = Instances("Tempo", {DEFAULT: Tempo(rest), "payments": Tempo(payments)})
        await investigate(api, Telemetry(tempo=tempos))

    async with api.database.reading() as connection:
        [record] = (await connection.execute(select(analysis_records))).mappings().all()
    traces = read_evidence(zlib.decompress(record["evidence"])).traces
    assert traces is not None
    callers = {(entry.caller, entry.service) for entry in traces.entries}
    assert {(None, "frontend"), ("frontend", "checkout"), ("checkout", "payment")} <= callers


async def test_what_becomes_of_analyses_is_counted(api: Api, shop: Shop, incident: str) -> None:
    registry = CollectorRegistry()
    await investigate(api, replace(shop.telemetry, loki=Instances("Loki")), observer=AnalysisMetrics(registry))

    name = "reliability_studio_analysis"
    assert registry.get_sample_value(f"{name}_duration_seconds_count", {"outcome": "partial"}) == 1
    gap = {"backend": "loki", "code": "TELEMETRY_NOT_CONFIGURED"}
    assert registry.get_sample_value(f"{name}_gaps_total", gap) == 1
    answers = registry.get_sample_value("reliability_studio_correlation_engine_duration_seconds_count")
    assert answers is not None
    assert answers >= 1


async def test_without_any_backend_what_is_recorded_still_counts(api: Api, incident: str) -> None:
    await investigate(api, Telemetry())

    analysis = (await shown(api, incident))["analysis"]
    assert analysis["status"] == "PARTIAL"
    assert {gap["code"] for gap in analysis["gaps"]} == {"TELEMETRY_NOT_CONFIGURED"}
    found = (await shown(api, incident))["correlations"]["nodes"]
    assert ("DEPLOYMENT", "payment") in {(it["kind"], it["service"]["name"]) for it in found}


async def test_a_backend_that_hangs_is_late_and_costs_no_more_than_the_deadline(
    api: Api, shop: Shop, incident: str
) -> None:
    shop.loki.hangs = True
    try:
        await investigate(api, shop.telemetry, deadline_seconds=1.5)
    finally:
        shop.loki.hangs = False

    analysis = (await shown(api, incident))["analysis"]
    gaps = {(gap["backend"], gap["code"]) for gap in analysis["gaps"]}
    assert ("LOKI", "TELEMETRY_TIMEOUT") in gaps
    assert analysis["status"] == "PARTIAL"
