"""The work on an incident, written through GraphQL."""

from uuid import uuid4

from db.correlation import analyses, correlations
from db.database import Transaction
from domain.correlation import AnalysisStatus, CorrelationKind

NOWHERE = str(uuid4())


async def found(api, incident: str) -> str:
    """The id of something that the correlation engine found out about an incident."""

    async def find(tx: Transaction) -> str:
        run = {"status": AnalysisStatus.COMPLETE, "engine_version": "1", "confidence": 0.9, "completed_at": tx.now}
        analysis = await tx.insert(analyses, incident_id=incident, started_at=tx.now, **run)
        finding = {"kind": CorrelationKind.METRIC, "summary": "CPU at 100 %", "score": 0.9}
        row = await tx.insert(correlations, analysis_id=analysis["id"], incident_id=incident, **finding)
        return str(row["id"])

    return await api.database.transact(find, now=api.now)


async def test_a_hypothesis_is_proposed_once_per_key_changed_and_emptied(api, incident):
    [service] = (await api("{ services { nodes { id } } }"))["data"]["services"]["nodes"]
    evidence = await found(api, incident)
    selection = """hypothesis {
      title description status confidence isAutomatic service { id } evidence { id } incident { id }
    }"""
    known = {
        "incidentId": incident,
        "title": "The certificate expired",
        "description": "It was issued a year ago",
        "status": "INVESTIGATING",
        "confidence": 0.8,
        "serviceId": service["id"],
        "evidenceIds": [evidence],
        "idempotencyKey": "hypothesis-1",
    }
    expected = {
        "title": "The certificate expired",
        "description": "It was issued a year ago",
        "status": "INVESTIGATING",
        "confidence": 0.8,
        "isAutomatic": False,
        "service": service,
        "evidence": [{"id": evidence}],
        "incident": {"id": incident},
    }
    assert await api.changed("createHypothesis", selection, input=known) == expected
    before = await api.written()
    id = (await api.changed("createHypothesis", "hypothesis { id }", input=known))["id"]
    assert await api.written() == before

    confirmed = {"id": id, "title": "The certificate had expired", "status": "CONFIRMED", "confidence": 1}
    expected |= {"title": "The certificate had expired", "status": "CONFIRMED", "confidence": 1.0}
    assert await api.changed("updateHypothesis", selection, input=confirmed) == expected
    emptied = {"id": id, "description": None, "serviceId": None, "evidenceIds": None}
    expected |= {"description": "", "service": None, "evidence": []}
    assert await api.changed("updateHypothesis", selection, input=emptied) == expected


async def test_a_title_is_enough_for_a_hypothesis(api, incident):
    known = {"incidentId": incident, "title": "Traffic", "description": None, "serviceId": None, "evidenceIds": None}
    selection = "hypothesis { description status confidence service { id } evidence { id } }"
    assert await api.changed("createHypothesis", selection, input=known) == {
        "description": "",
        "status": "PROPOSED",
        "confidence": 0.5,
        "service": None,
        "evidence": [],
    }


async def test_a_hypothesis_that_cannot_be_is_refused_with_the_field(api, incident):
    id = (
        await api.changed("createHypothesis", "hypothesis { id }", input={"incidentId": incident, "title": "Traffic"})
    )["id"]
    for wrong, path in [
        ({"title": ""}, ["title"]),
        ({"title": None}, ["title"]),
        ({"description": "\0"}, ["description"]),
        ({"status": None}, ["status"]),
        ({"confidence": 1.1}, ["confidence"]),
        ({"confidence": None}, ["confidence"]),
        ({"serviceId": NOWHERE}, ["serviceId"]),
        ({"serviceId": "checkout"}, ["serviceId"]),
        ({"evidenceIds": [NOWHERE]}, ["evidenceIds", "0"]),
        ({"evidenceIds": ["the logs"]}, ["evidenceIds", "0"]),
        ({"evidenceIds": [NOWHERE] * 1_000}, ["evidenceIds"]),
    ]:
        if wrong != {"title": None}:
            known = {"incidentId": incident, "title": "Traffic", **wrong}
            error = await api.refused("createHypothesis", "hypothesis { id }", input=known)
            assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])
        error = await api.refused("updateHypothesis", "hypothesis { id }", input={"id": id, **wrong})
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])


async def test_a_step_is_added_once_per_key_done_and_emptied(api, incident, ada):
    known = {"incidentId": incident, "title": "The certificate expired"}
    hypothesis = await api.changed("createHypothesis", "hypothesis { id }", input=known)
    selection = """step {
      title description action status findings completedAt hypothesis { id } assignee { id } incident { id }
    }"""
    known = {
        "incidentId": incident,
        "title": "Look at the certificate",
        "hypothesisId": hypothesis["id"],
        "description": "It is the one of the provider",
        "action": "openssl s_client -connect provider.example.org:443",
        "findings": {"seen": [1, 2.5, None, {"notAfter": "2026-03-01"}]},
        "assigneeId": ada,
        "idempotencyKey": "step-1",
    }
    expected = {
        **{name: known[name] for name in ("title", "description", "action", "findings")},
        "status": "PENDING",
        "completedAt": None,
        "hypothesis": hypothesis,
        "assignee": {"id": ada},
        "incident": {"id": incident},
    }
    assert await api.changed("createInvestigationStep", selection, input=known) == expected
    before = await api.written()
    id = (await api.changed("createInvestigationStep", "step { id }", input=known))["id"]
    assert await api.written() == before

    api.wait(minutes=10)
    done = {"id": id, "title": "Look at it", "action": "Ask them", "status": "COMPLETED", "findings": {"expired": True}}
    expected |= {name: done[name] for name in done if name != "id"} | {"completedAt": "2026-03-01T12:10:00+00:00"}
    assert await api.changed("updateInvestigationStep", selection, input=done) == expected
    emptied = dict.fromkeys(["hypothesisId", "description", "action", "findings", "assigneeId"])
    expected |= {"hypothesis": None, "description": "", "action": "", "findings": {}, "assignee": None}
    assert await api.changed("updateInvestigationStep", selection, input={"id": id, **emptied}) == expected


async def test_a_step_that_cannot_be_is_refused_with_the_field(api, incident):
    other = await api.changed("createIncident", "incident { id }", input={"title": "Another", "severity": "LOW"})
    known = {"incidentId": other["id"], "title": "The certificate expired"}
    elsewhere = (await api.changed("createHypothesis", "hypothesis { id }", input=known))["id"]
    known = {"incidentId": incident, "title": "Look"}
    id = (await api.changed("createInvestigationStep", "step { id }", input=known))["id"]
    deep: dict[str, object] = {}
    for _ in range(500):
        deep = {"deeper": deep}
    for wrong, path in [
        ({"title": " "}, ["title"]),
        ({"hypothesisId": NOWHERE}, ["hypothesisId"]),
        ({"hypothesisId": elsewhere}, ["hypothesisId"]),
        ({"hypothesisId": "the first one"}, ["hypothesisId"]),
        ({"action": "a" * 20_001}, ["action"]),
        ({"findings": ["a list"]}, ["findings"]),
        ({"findings": {"big": 2**64}}, ["findings"]),
        ({"findings": {"much": float("inf")}}, ["findings"]),
        ({"findings": {"text": "half \ud83d"}}, ["findings"]),
        ({"findings": {"nul \0": 1}}, ["findings"]),
        ({"findings": {"long": "a" * 64_001}}, ["findings"]),
        ({"findings": deep}, ["findings"]),
        ({"assigneeId": NOWHERE}, ["assigneeId"]),
    ]:
        error = await api.refused("createInvestigationStep", "step { id }", input={**known, **wrong})
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])
        error = await api.refused("updateInvestigationStep", "step { id }", input={"id": id, **wrong})
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])


async def test_a_task_is_added_once_per_key_done_and_emptied(api, incident, ada):
    selection = "task { title description status dueAt completedAt assignee { id } incident { id } }"
    known = {
        "incidentId": incident,
        "title": "Renew the certificate",
        "description": "Before it expires",
        "assigneeId": ada,
        "dueAt": "2027-02-01T00:00:00+00:00",
        "idempotencyKey": "task-1",
    }
    expected = {
        **{name: known[name] for name in ("title", "description", "dueAt")},
        "status": "OPEN",
        "completedAt": None,
        "assignee": {"id": ada},
        "incident": {"id": incident},
    }
    assert await api.changed("createTask", selection, input=known) == expected
    before = await api.written()
    id = (await api.changed("createTask", "task { id }", input=known))["id"]
    assert await api.written() == before

    api.wait(hours=1)
    expected |= {"title": "Renew it", "status": "DONE", "completedAt": "2026-03-01T13:00:00+00:00"}
    done = {"id": id, "title": "Renew it", "status": "DONE"}
    assert await api.changed("updateTask", selection, input=done) == expected
    emptied = {"id": id, **dict.fromkeys(["description", "assigneeId", "dueAt"])}
    expected |= {"description": "", "assignee": None, "dueAt": None}
    assert await api.changed("updateTask", selection, input=emptied) == expected


async def test_a_task_that_cannot_be_is_refused_with_the_field(api, incident):
    id = (await api.changed("createTask", "task { id }", input={"incidentId": incident, "title": "Renew"}))["id"]
    for wrong, path in [
        ({"title": "\0"}, ["title"]),
        ({"description": "a" * 20_001}, ["description"]),
        ({"assigneeId": NOWHERE}, ["assigneeId"]),
        ({"assigneeId": "ada"}, ["assigneeId"]),
    ]:
        error = await api.refused(
            "createTask", "task { id }", input={"incidentId": incident, "title": "Renew", **wrong}
        )
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])
        error = await api.refused("updateTask", "task { id }", input={"id": id, **wrong})
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])
    error = await api.refused("updateTask", "task { id }", input={"id": id, "status": None})
    assert (error["__typename"], error["path"]) == ("ValidationError", ["input", "status"])


async def test_work_on_nothing_is_not_found(api):
    for id in [NOWHERE, "INC-42", "\ud800"]:
        for mutation, selection, noun, known in [
            ("createHypothesis", "hypothesis { id }", "incident", {"incidentId": id, "title": "Traffic"}),
            ("createInvestigationStep", "step { id }", "incident", {"incidentId": id, "title": "Look"}),
            ("createTask", "task { id }", "incident", {"incidentId": id, "title": "Renew"}),
            ("updateHypothesis", "hypothesis { id }", "hypothesis", {"id": id, "title": "Traffic"}),
            ("updateInvestigationStep", "step { id }", "step", {"id": id, "title": "Look"}),
            ("updateTask", "task { id }", "task", {"id": id, "title": "Renew"}),
        ]:
            error = await api.refused(mutation, selection, input=known)
            assert (error["__typename"], error["path"]) == ("NotFoundError", ["input", next(iter(known))])
            assert error["message"].startswith(f"There is no {noun} ")
