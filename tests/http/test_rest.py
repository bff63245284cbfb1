"""The REST façade, line by line of its table."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

UNKNOWN = "0193a2b3-aaaa-7bbb-8ccc-0123456789ab"


async def created(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await http.post("/api/incidents", json={"title": "Something broke", **fields})
    assert response.status_code == 201, response.text
    incident: dict[str, Any] = response.json()
    return incident


def error(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    message: str = response.json()["error"]
    return message


class TestOpeningAnIncident:
    async def test_it_is_answered_whole(self, http: httpx.AsyncClient) -> None:
        response = await http.post(
            "/api/incidents",
            json={
                "title": "High error rate detected",
                "description": "Error rate exceeded 20% threshold",
                "severity": "Critical",
                "service": "api-gateway",
            },
        )

        assert response.status_code == 201
        incident = response.json()
        assert response.headers["location"] == f"/api/incidents/{incident['id']}"
        assert incident["title"] == "High error rate detected"
        assert incident["description"] == "Error rate exceeded 20% threshold"
        assert (incident["severity"], incident["status"], incident["source"]) == ("critical", "open", "api")
        assert (incident["service"], incident["services"]) == ("api-gateway", ["api-gateway"])
        assert incident["started_at"] == incident["created_at"]
        assert incident["resolved_at"] is None
        assert (await http.get(f"/api/incidents/{incident['id']}")).json() == incident

    async def test_services_are_named_by_name_or_id_and_new_names_join_the_catalog(
        self, http: httpx.AsyncClient
    ) -> None:
        new = f"service-{uuid4()}"
        first = await created(http, service=new)
        second = await created(http, services=[new.upper(), "billing"], service_ids=first["service_ids"])

        assert second["services"] == [new, "billing"]
        assert second["service_ids"][0] == first["service_ids"][0]
        names = [service["name"] for service in (await http.get("/api/services?limit=200")).json()]
        assert new in names

    async def test_only_a_title_is_needed(self, http: httpx.AsyncClient) -> None:
        incident = await created(http)

        assert (incident["severity"], incident["service"], incident["services"]) == ("medium", None, [])

    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            ({}, "Title is required"),
            ({"title": "  ", "severity": "high"}, "Title is required"),
            ({"title": None}, "Title is required"),
            ({"title": 7}, "Title must be text"),
            ({"title": "x" * 301}, "Title is longer than 300 characters"),
            ({"title": "a\0b"}, "Title holds a NUL character"),
            ({"title": "x", "severity": "catastrophic"}, "Severity must be one of LOW, MEDIUM, HIGH, CRITICAL"),
            ({"title": "x", "severity": 1}, "Severity must be one of LOW, MEDIUM, HIGH, CRITICAL"),
            ({"title": "x", "service": UNKNOWN}, f"There is no service {UNKNOWN}"),
            ({"title": "x", "services": "checkout"}, "services must be a list"),
            ({"title": "x", "services": [7]}, "must be text"),
            ({"title": "x", "started_at": "yesterday"}, "started_at must be a time"),
            ({"title": "x", "started_at": "2999-01-01T00:00:00Z"}, "lies in the future"),
            ({"title": "x", "started_at": "2026-01-01T00:00:00"}, "needs an offset"),
            ({"title": "x", "labels": [1]}, "Labels"),
            ({"title": "x", "sevrity": "high"}, "Unknown field 'sevrity'"),
        ],
    )
    async def test_what_is_wrong_is_said(self, http: httpx.AsyncClient, body: dict[str, Any], complaint: str) -> None:
        response = await http.post("/api/incidents", json=body)

        assert response.status_code == 400
        assert complaint in error(response)

    async def test_a_repeated_idempotency_key_opens_one_incident(self, http: httpx.AsyncClient) -> None:
        key = {"Idempotency-Key": str(uuid4())}
        body = {"title": "Once", "severity": "low"}
        first = await http.post("/api/incidents", json=body, headers=key)
        again = await http.post("/api/incidents", json=body, headers=key)
        other = await http.post("/api/incidents", json={**body, "title": "Twice"}, headers=key)

        assert first.json() == again.json()
        assert other.status_code == 422
        assert "idempotency key" in error(other)


class TestListingIncidents:
    async def test_the_latest_comes_first_and_the_total_is_told(self, http: httpx.AsyncClient) -> None:
        service = f"listing-{uuid4()}"
        incidents = [await created(http, service=service) for _ in range(3)]
        response = await http.get("/api/incidents", params={"service": service, "limit": 2, "offset": 1})

        assert response.status_code == 200
        assert response.headers["x-total-count"] == "3"
        assert [incident["id"] for incident in response.json()] == [incidents[1]["id"], incidents[0]["id"]]

    async def test_filters_narrow_it_together(self, http: httpx.AsyncClient) -> None:
        service = f"filters-{uuid4()}"
        low = await created(http, service=service, severity="low")
        high = await created(http, service=service, severity="high")
        await http.patch(f"/api/incidents/{high['id']}", json={"status": "investigating"})

        async def ids(**filters: str) -> list[str]:
            found = await http.get("/api/incidents", params={"service": service.upper(), **filters})
            return [incident["id"] for incident in found.json()]

        assert await ids() == [high["id"], low["id"]]
        assert await ids(status="", severity="") == [high["id"], low["id"]]
        assert await ids(severity="LOW") == [low["id"]]
        assert await ids(status="investigating") == [high["id"]]
        assert await ids(status="open,investigating", severity="high") == [high["id"]]
        assert await ids(status="resolved") == []
        by_id = await http.get("/api/incidents", params={"service": low["service_ids"][0], "severity": "low"})
        assert [incident["id"] for incident in by_id.json()] == [low["id"]]

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=many",
            "limit=1e2",
            "limit=٣",
            "limit=" + "9" * 5000,
            "offset=-1",
            "offset=x",
            "status=broken",
            "severity=worst",
            "service=a%00b",
        ],
    )
    async def test_a_parameter_that_makes_no_sense_is_refused(self, http: httpx.AsyncClient, query: str) -> None:
        response = await http.get(f"/api/incidents?{query}")

        assert response.status_code == 400
        assert error(response)

    async def test_active_are_those_that_are_not_resolved(self, http: httpx.AsyncClient) -> None:
        active, resolved = await created(http), await created(http)
        await http.patch(f"/api/incidents/{resolved['id']}", json={"status": "resolved"})
        response = await http.get("/api/incidents/active?limit=200")

        ids = [incident["id"] for incident in response.json()]
        assert active["id"] in ids
        assert resolved["id"] not in ids
        assert all(incident["status"] != "resolved" for incident in response.json())


class TestOneIncident:
    @pytest.mark.parametrize("id", [UNKNOWN, "nonsense", "42", "0", "null", "%00", "ä", "x" * 1000])
    @pytest.mark.parametrize("rest", ["", "/timeline"])
    async def test_one_that_does_not_exist_is_not_found(self, http: httpx.AsyncClient, id: str, rest: str) -> None:
        response = await http.get(f"/api/incidents/{id}{rest}")

        assert response.status_code == 404
        assert error(response).startswith("There is no incident")

    async def test_changing_one_answers_with_all_of_it(self, http: httpx.AsyncClient) -> None:
        incident = await created(http, severity="low")
        changes = {
            "title": "Found it",
            "description": "A full disk",
            "severity": "HIGH",
            "status": "resolved",
            "root_cause": "Logs were never rotated",
            "resolution": "Rotated them",
        }
        response = await http.patch(f"/api/incidents/{incident['id']}", json=changes)

        assert response.status_code == 200
        changed = response.json()
        assert {**changes, "severity": "high"} == {name: changed[name] for name in changes}
        assert changed["resolved_at"] is not None
        assert changed["version"] == incident["version"] + 1

    @pytest.mark.parametrize(
        ("body", "status", "complaint"),
        [
            ({}, 400, "nothing to change"),
            ({"started_at": "2026-01-01T00:00:00Z"}, 400, "Unknown field 'started_at'"),
            ({"title": ""}, 400, "Title is required"),
            ({"severity": "worst"}, 400, "Severity must be one of"),
            ({"status": "active"}, 400, "Status must be one of"),
            ({"status": "open"}, 409, "reopened"),
        ],
    )
    async def test_a_change_that_makes_no_sense_changes_nothing(
        self, http: httpx.AsyncClient, body: dict[str, Any], status: int, complaint: str
    ) -> None:
        id = (await created(http))["id"]
        before = (await http.patch(f"/api/incidents/{id}", json={"status": "resolved"})).json()
        response = await http.patch(f"/api/incidents/{id}", json=body)

        assert response.status_code == status
        assert complaint in error(response)
        assert (await http.get(f"/api/incidents/{id}")).json() == before

    async def test_changing_one_that_does_not_exist_is_not_found(self, http: httpx.AsyncClient) -> None:
        response = await http.patch(f"/api/incidents/{UNKNOWN}", json={"title": "x"})

        assert response.status_code == 404


class TestTimeline:
    async def test_notes_join_what_happened_in_its_order(self, http: httpx.AsyncClient) -> None:
        incident = await created(http)
        response = await http.post(f"/api/incidents/{incident['id']}/timeline", json={"text": "Looking at the disks"})
        timeline = await http.get(f"/api/incidents/{incident['id']}/timeline")

        assert response.status_code == 201
        note = response.json()
        assert (note["type"], note["description"]) == ("note", "Looking at the disks")
        assert timeline.json()[-1] == note
        assert timeline.headers["x-total-count"] == str(len(timeline.json()))
        times = [entry["occurred_at"] for entry in timeline.json()]
        assert times == sorted(times)

    @pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": None}, {"note": "x"}, {"text": "x", "occurred_at": 7}])
    async def test_a_note_that_says_nothing_is_refused(self, http: httpx.AsyncClient, body: dict[str, Any]) -> None:
        incident = await created(http)
        response = await http.post(f"/api/incidents/{incident['id']}/timeline", json=body)

        assert response.status_code == 400


async def test_services_are_listed_by_name(http: httpx.AsyncClient) -> None:
    await created(http, services=["zebra", "aardvark"])
    response = await http.get("/api/services?limit=200")

    names = [service["name"] for service in response.json()]
    assert names == sorted(names)
    assert {"aardvark", "zebra"} <= set(names)
    assert int(response.headers["x-total-count"]) >= 2


async def test_slos_are_listed(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/slos")

    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 2000])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_body_that_is_no_json_object_is_refused(http: httpx.AsyncClient, content: bytes, method: str) -> None:
    path = "/api/incidents" if method == "POST" else f"/api/incidents/{UNKNOWN}"
    response = await http.request(method, path, content=content, headers={"Content-Type": "application/json"})

    assert response.status_code == 400
    assert "body" in error(response)


async def test_a_form_is_refused_with_what_to_send_instead(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/incidents", data={"title": "x"})

    assert response.status_code == 415
    assert "application/json" in error(response)


async def test_a_body_that_is_too_large_is_refused(strict_http: httpx.AsyncClient) -> None:
    response = await strict_http.post("/api/incidents", json={"title": "x", "description": "x" * 5000})

    assert response.status_code == 413
    assert "2048 bytes" in error(response)


async def test_a_slash_at_the_end_changes_nothing(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/services/")

    assert response.status_code == 200


async def test_a_path_that_does_not_exist_is_not_found(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/nothing")

    assert response.status_code == 404
    assert error(response) == "There is nothing at /api/nothing"


async def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(http: httpx.AsyncClient) -> None:
    response = await http.delete("/api/incidents")

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert error(response) == "DELETE is not possible at /api/incidents. Possible: GET, HEAD, POST"
