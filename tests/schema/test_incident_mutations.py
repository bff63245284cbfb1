"""Incidents, written through GraphQL."""

from uuid import uuid4

STATUS = "incident { status acknowledgedAt mitigatedAt resolvedAt version }"
NOWHERE = str(uuid4())
NOON = "2026-03-01T12:00:00+00:00"


async def test_a_created_incident_is_answered_with_all_that_was_given(api, ada):
    known = {
        "title": "Checkout is failing",
        "severity": "CRITICAL",
        "description": "Cards are declined",
        "services": ["checkout", "payments"],
        "source": "API",
        "startedAt": "2026-03-01T11:30:00+00:00",
        "detectedAt": "2026-03-01T12:40:00+01:00",
        "commanderId": ada,
        "labels": {"region": "eu"},
        "idempotencyKey": "deploy-4711",
    }
    assert await api.changed(
        "createIncident",
        """incident {
          number title severity status description source startedAt detectedAt labels version
          commander { name } impacts { level source service { name status } }
        }""",
        input=known,
    ) == {
        "number": 1,
        "title": "Checkout is failing",
        "severity": "CRITICAL",
        "status": "OPEN",
        "description": "Cards are declined",
        "source": "API",
        "startedAt": "2026-03-01T11:30:00+00:00",
        "detectedAt": "2026-03-01T11:40:00+00:00",
        "labels": {"region": "eu"},
        "version": 1,
        "commander": {"name": "Ada Lovelace"},
        "impacts": [
            {"level": "PRIMARY", "source": "API", "service": {"name": "checkout", "status": "DOWN"}},
            {"level": "SECONDARY", "source": "API", "service": {"name": "payments", "status": "DEGRADED"}},
        ],
    }


async def test_a_title_and_a_severity_are_enough(api):
    known = {"title": "Checkout is failing", "severity": "LOW"}
    selection = "incident { description source startedAt detectedAt labels services { name } commander { name } }"
    assert await api.changed("createIncident", selection, input=known) == {
        "description": "",
        "source": "MANUAL",
        "startedAt": NOON,
        "detectedAt": NOON,
        "labels": {},
        "services": [],
        "commander": None,
    }


async def test_null_is_like_absent_in_a_new_incident_where_nothing_can_be_meant(api):
    absent = ("description", "services", "startedAt", "detectedAt", "commanderId", "labels", "idempotencyKey")
    known = {"title": "Checkout is failing", "severity": "LOW", **dict.fromkeys(absent)}
    opened = await api.changed("createIncident", "incident { description startedAt labels }", input=known)
    assert opened == {"description": "", "startedAt": NOON, "labels": {}}


async def test_a_retry_with_the_same_key_gets_the_first_answer_and_writes_nothing(api):
    known = {"title": "Checkout is failing", "severity": "HIGH", "idempotencyKey": "deploy-4711"}
    first = await api.changed("createIncident", "incident { id number }", input=known)
    before = await api.written()
    assert await api.changed("createIncident", "incident { id number }", input=known) == first
    assert await api.written() == before


async def test_a_key_that_came_with_another_input_is_a_conflict(api):
    known = {"title": "Checkout is failing", "severity": "HIGH", "idempotencyKey": "deploy-4711"}
    await api.changed("createIncident", "incident { id }", input=known)
    error = await api.refused("createIncident", "incident { id }", input={**known, "severity": "LOW"})
    assert error == {
        "__typename": "ConflictError",
        "message": "This idempotency key came before with another input: use a new key for a new request",
        "code": "IDEMPOTENCY_KEY_REUSED",
        "path": ["input", "idempotencyKey"],
        "currentVersion": None,
    }


async def test_every_field_of_an_incident_can_be_changed(api, incident, ada):
    changes = {
        "id": incident,
        "expectedVersion": 1,
        "title": "Cards are declined",
        "description": "All of them",
        "severity": "CRITICAL",
        "status": "RESOLVED",
        "commanderId": ada,
        "rootCause": "An expired certificate",
        "resolution": "A new certificate",
        "postmortemUrl": "https://wiki.example.org/inc-1",
        "labels": {"region": "eu"},
        "startedAt": "2026-03-01T11:00:00+00:00",
        "detectedAt": "2026-03-01T11:10:00+00:00",
        "acknowledgedAt": "2026-03-01T11:20:00+00:00",
        "mitigatedAt": "2026-03-01T11:30:00+00:00",
        "resolvedAt": "2026-03-01T11:40:00+00:00",
    }
    same = [name for name in changes if name not in ("id", "expectedVersion", "commanderId")]
    selection = f"incident {{ {' '.join(same)} commander {{ id }} version }}"
    assert await api.changed("updateIncident", selection, input=changes) == {
        **{name: changes[name] for name in same},
        "commander": {"id": ada},
        "version": 2,
    }


async def test_what_is_left_out_stays_and_null_empties(api, incident, ada):
    full = {"description": "All of them", "rootCause": "A certificate", "commanderId": ada, "labels": {"region": "eu"}}
    selection = "incident { title description rootCause labels commander { id } detectedAt }"
    filled = await api.changed("updateIncident", selection, input={"id": incident, **full})
    assert filled["title"] == "Checkout is failing"
    same = await api.changed("updateIncident", selection, input={"id": incident, "severity": "LOW"})
    assert same == filled
    emptied = dict.fromkeys(["description", "rootCause", "commanderId", "labels", "detectedAt"])
    assert await api.changed("updateIncident", selection, input={"id": incident, **emptied}) == {
        "title": "Checkout is failing",
        "description": "",
        "rootCause": None,
        "labels": {},
        "commander": None,
        "detectedAt": None,
    }


async def test_null_is_refused_where_an_incident_needs_something(api, incident):
    for field in ("title", "severity", "status", "startedAt"):
        error = await api.refused("updateIncident", "incident { id }", input={"id": incident, field: None})
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", field])
        assert error["message"].endswith("is required")


async def test_a_change_of_an_old_version_is_a_conflict_with_the_version_of_now(api, incident):
    await api.changed("updateIncident", "incident { id }", input={"id": incident, "title": "Cards are declined"})
    late = {"id": incident, "expectedVersion": 1, "title": "Carts are lost"}
    assert await api.refused("updateIncident", "incident { id }", input=late) == {
        "__typename": "ConflictError",
        "message": "INC-1 is at version 2 now, not 1: read it again and decide anew",
        "code": "CONFLICT",
        "path": ["input", "expectedVersion"],
        "currentVersion": 2,
    }
    read = await api("query($id: ID!) { incident(id: $id) { title version } }", id=incident)
    assert read == {"data": {"incident": {"title": "Cards are declined", "version": 2}}}


async def test_a_version_that_never_was_is_a_conflict_too(api, incident):
    error = await api.refused("updateIncident", "incident { id }", input={"id": incident, "expectedVersion": 0})
    assert (error["__typename"], error["currentVersion"]) == ("ConflictError", 1)


async def test_an_incident_is_acknowledged_mitigated_resolved_and_reopened(api, incident):
    api.wait(minutes=1)
    acknowledged = await api.changed("acknowledgeIncident", STATUS, id=incident)
    assert acknowledged == {
        "status": "INVESTIGATING",
        "acknowledgedAt": "2026-03-01T12:01:00+00:00",
        "mitigatedAt": None,
        "resolvedAt": None,
        "version": 2,
    }
    api.wait(minutes=1)
    mitigated = await api.changed("mitigateIncident", STATUS, id=incident, note="Switched to the other provider")
    assert mitigated == {
        **acknowledged,
        "status": "MITIGATED",
        "mitigatedAt": "2026-03-01T12:02:00+00:00",
        "version": 3,
    }
    api.wait(minutes=1)
    causes = {"rootCause": "An expired certificate", "resolution": "A new certificate"}
    resolved = await api.changed(
        "resolveIncident", "incident { status resolvedAt rootCause resolution }", id=incident, **causes
    )
    assert resolved == {"status": "RESOLVED", "resolvedAt": "2026-03-01T12:03:00+00:00", **causes}
    reopened = await api.changed("reopenIncident", STATUS, id=incident, reason="It came back")
    assert reopened == {**acknowledged, "version": 5}
    timeline = await api(
        "query($id: ID!) { incident(id: $id) { timeline { nodes { type description } } } }", id=incident
    )
    assert [tuple(entry.values()) for entry in timeline["data"]["incident"]["timeline"]["nodes"]] == [
        ("DETECTED", ""),
        ("STATUS_CHANGE", ""),
        ("MITIGATION", "Switched to the other provider"),
        ("RESOLUTION", "Root cause: An expired certificate\n\nResolution: A new certificate"),
        ("STATUS_CHANGE", "It came back"),
    ]


async def test_resolving_keeps_the_causes_that_are_not_given(api, incident):
    await api.changed("updateIncident", "incident { id }", input={"id": incident, "rootCause": "A certificate"})
    resolved = await api.changed("resolveIncident", "incident { rootCause resolution }", id=incident, rootCause=None)
    assert resolved == {"rootCause": "A certificate", "resolution": None}


async def test_resolving_an_incident_twice_is_a_conflict_and_changes_nothing(api, incident):
    await api.changed("resolveIncident", "incident { id }", id=incident)
    assert await api.refused("resolveIncident", "incident { id }", id=incident) == {
        "__typename": "ConflictError",
        "message": "The incident is resolved already",
        "code": "CONFLICT",
        "path": [],
        "currentVersion": 2,
    }


async def test_reopening_takes_a_reason(api, incident):
    await api.changed("resolveIncident", "incident { id }", id=incident)
    error = await api.refused("reopenIncident", "incident { id }", id=incident, reason="  ")
    assert (error["__typename"], error["message"], error["path"]) == (
        "ValidationError",
        "Reason is required",
        ["reason"],
    )


async def test_a_note_is_added_to_the_timeline_once_per_key(api, incident):
    note = {
        "incidentId": incident,
        "text": "The provider says\nthat it is them.",
        "occurredAt": "2026-03-01T12:00:30+00:00",
        "idempotencyKey": "note-1",
    }
    api.wait(minutes=5)
    selection = "timelineEvent { id type title description occurredAt createdAt source incident { id } }"
    entry = await api.changed("addTimelineNote", selection, **note)
    assert entry == {
        "id": entry["id"],
        "type": "NOTE",
        "title": "The provider says",
        "description": "The provider says\nthat it is them.",
        "occurredAt": "2026-03-01T12:00:30+00:00",
        "createdAt": "2026-03-01T12:05:00+00:00",
        "source": "deploy-pipeline",
        "incident": {"id": incident},
    }
    before = await api.written()
    assert await api.changed("addTimelineNote", selection, **note) == entry
    assert await api.written() == before


async def test_a_note_of_an_unknown_time_happens_now(api, incident):
    api.wait(minutes=5)
    entry = await api.changed("addTimelineNote", "timelineEvent { occurredAt }", incidentId=incident, text="Hm")
    assert entry == {"occurredAt": "2026-03-01T12:05:00+00:00"}


async def test_a_note_that_cannot_be_is_refused_with_the_argument(api, incident):
    for wrong, path in [
        ({"text": " "}, ["text"]),
        ({"occurredAt": "2026-03-01T11:00:00Z"}, ["occurredAt"]),
        ({"occurredAt": "2027-01-01T00:00:00Z"}, ["occurredAt"]),
        ({"idempotencyKey": ""}, ["idempotencyKey"]),
    ]:
        note = {"incidentId": incident, "text": "Hm", **wrong}
        error = await api.refused("addTimelineNote", "timelineEvent { id }", **note)
        assert (error["__typename"], error["path"]) == ("ValidationError", path)


async def test_the_impact_on_a_service_is_set_changed_and_taken_away(api, incident):
    service = (await api.changed("createService", "service { id }", input={"name": "payments"}))["id"]

    async def impacts(level: str | None) -> list[dict[str, object]]:
        changed = await api.changed(
            "setServiceImpact",
            "incident { impacts { level service { name status } } }",
            incidentId=incident,
            serviceId=service,
            level=level,
        )
        return [impact for impact in changed["impacts"] if impact["service"]["name"] == "payments"]

    assert await impacts("SECONDARY") == [{"level": "SECONDARY", "service": {"name": "payments", "status": "DEGRADED"}}]
    assert await impacts("SUSPECTED") == [{"level": "SUSPECTED", "service": {"name": "payments", "status": "HEALTHY"}}]
    assert await impacts(None) == []


async def test_an_impact_does_not_vanish_when_the_level_is_left_out(api, incident):
    [service] = (await api("{ services { nodes { id } } }"))["data"]["services"]["nodes"]
    error = await api.refused("setServiceImpact", "incident { id }", incidentId=incident, serviceId=service["id"])
    assert (error["__typename"], error["path"]) == ("ValidationError", ["level"])


async def test_an_incident_that_is_not_there_is_not_found_whatever_its_id(api):
    for id in [NOWHERE, "INC-42", "", "\ud800", "\0", "a" * 100_000]:
        for mutation, arguments, path in [
            ("updateIncident", {"input": {"id": id, "title": "Hm"}}, ["input", "id"]),
            ("acknowledgeIncident", {"id": id}, ["id"]),
            ("mitigateIncident", {"id": id}, ["id"]),
            ("resolveIncident", {"id": id}, ["id"]),
            ("reopenIncident", {"id": id, "reason": "Hm"}, ["id"]),
            ("setServiceImpact", {"incidentId": id, "serviceId": NOWHERE, "level": "PRIMARY"}, ["incidentId"]),
        ]:
            error = await api.refused(mutation, "incident { id }", **arguments)
            assert (error["__typename"], error["code"], error["path"]) == ("NotFoundError", "NOT_FOUND", path)
            assert error["message"].startswith("There is no incident ")
            assert len(error["message"]) < 200


async def test_a_service_that_is_not_there_cannot_be_hurt(api, incident):
    for id in [NOWHERE, "checkout", "\ud800"]:
        arguments = {"incidentId": incident, "serviceId": id, "level": "PRIMARY"}
        error = await api.refused("setServiceImpact", "incident { id }", **arguments)
        assert (error["__typename"], error["path"]) == ("NotFoundError", ["serviceId"])


async def test_an_incident_that_cannot_be_is_refused_with_the_field(api):
    for wrong, path in [
        ({"title": ""}, ["title"]),
        ({"title": "two\nlines"}, ["title"]),
        ({"title": "a" * 301}, ["title"]),
        ({"title": "a\0b"}, ["title"]),
        ({"title": "half \ud83d"}, ["title"]),
        ({"description": "a" * 1_000_000}, ["description"]),
        ({"description": "\0"}, ["description"]),
        ({"services": ["checkout", ""]}, ["services", "1"]),
        ({"services": [NOWHERE]}, ["services", "0"]),
        ({"services": ["a\0b"]}, ["services", "0"]),
        ({"services": [f"service-{number}" for number in range(1_000)]}, ["services"]),
        ({"source": None}, ["source"]),
        ({"startedAt": "2027-01-01T00:00:00Z"}, ["startedAt"]),
        ({"startedAt": "2026-03-01T11:00:00Z", "detectedAt": "2026-03-01T10:59:00Z"}, ["detectedAt"]),
        ({"commanderId": NOWHERE}, ["commanderId"]),
        ({"commanderId": "ada"}, ["commanderId"]),
        ({"commanderId": "\ud800"}, ["commanderId"]),
        ({"labels": {f"label-{number}": "value" for number in range(1_000)}}, ["labels"]),
        ({"labels": {"region": 1}}, ["labels", "region"]),
        ({"labels": {"region": None}}, ["labels", "region"]),
        ({"labels": {"\ud800": "value"}}, ["labels"]),
        ({"labels": ["region"]}, ["labels"]),
        ({"labels": "region"}, ["labels"]),
        ({"idempotencyKey": ""}, ["idempotencyKey"]),
        ({"idempotencyKey": "a" * 201}, ["idempotencyKey"]),
        ({"idempotencyKey": "\ud800"}, ["idempotencyKey"]),
    ]:
        known = {"title": "Checkout is failing", "severity": "HIGH", **wrong}
        error = await api.refused("createIncident", "incident { id }", input=known)
        assert (error["__typename"], error["code"]) == ("ValidationError", "BAD_USER_INPUT")
        assert error["path"] == ["input", *path]
        assert len(error["message"]) < 300
