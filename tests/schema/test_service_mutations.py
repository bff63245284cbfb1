"""The catalog, written through GraphQL."""

from uuid import uuid4

NOWHERE = str(uuid4())


async def test_a_declared_service_is_answered_with_all_that_was_given(api, team):
    known = {
        "name": "checkout",
        "displayName": "Checkout",
        "description": "Takes the money",
        "tier": 1,
        "teamId": team,
        "repositoryUrl": "https://git.example.org/checkout",
        "documentationUrl": "https://docs.example.org/checkout",
        "runbookUrl": "https://wiki.example.org/checkout",
        "labels": {"region": "eu"},
        "selectors": {"prometheus": {"job": "checkout"}, "loki": {"app": "checkout"}, "tempo": "shop-checkout"},
        "telemetryInstances": {"prometheus": "eu", "loki": "logs-1"},
        "dependsOn": ["payments", "carts"],
        "idempotencyKey": "declare-checkout",
    }
    same = [name for name in known if name not in ("teamId", "selectors", "dependsOn", "idempotencyKey")]
    selection = f"""service {{
      {" ".join(same)} team {{ name }} selectors {{ prometheus loki tempo }} status version discoveredAt
      dependencies {{ dependsOn {{ name }} source }}
    }}"""
    declared = await api.changed("createService", selection, input=known)
    assert declared == {
        **{name: known[name] for name in same},
        "team": {"name": "Payments"},
        "selectors": known["selectors"],
        "status": "UNKNOWN",
        "version": 1,
        "discoveredAt": None,
        "dependencies": [
            {"dependsOn": {"name": "carts"}, "source": "DECLARED"},
            {"dependsOn": {"name": "payments"}, "source": "DECLARED"},
        ],
    }
    before = await api.written()
    assert await api.changed("createService", selection, input=known) == declared
    assert await api.written() == before


async def test_a_name_is_enough(api):
    selection = "service { name displayName description tier labels selectors { prometheus loki tempo } }"
    absent = ("displayName", "description", "tier", "teamId", "runbookUrl", "labels", "selectors", "dependsOn")
    expected = {
        "displayName": "carts",
        "description": "",
        "tier": None,
        "labels": {},
        "selectors": {"prometheus": {"service": "carts"}, "loki": {"service_name": "carts"}, "tempo": "carts"},
    }
    assert await api.changed("createService", selection, input={"name": "carts"}) == {"name": "carts", **expected}
    known = {"name": "Carts 2", **dict.fromkeys(absent)}
    declared = await api.changed("createService", "service { displayName description labels }", input=known)
    assert declared == {"displayName": "Carts 2", "description": "", "labels": {}}


async def test_a_name_that_another_service_has_in_any_case_is_a_conflict(api):
    await api.changed("createService", "service { id }", input={"name": "checkout"})
    assert await api.refused("createService", "service { id }", input={"name": "Checkout"}) == {
        "__typename": "ConflictError",
        "message": 'There is a service named "checkout" already',
        "code": "CONFLICT",
        "path": ["input", "name"],
        "currentVersion": None,
    }


async def test_every_field_of_a_service_can_be_changed_and_emptied(api, team):
    service = await api.changed("createService", "service { id }", input={"name": "checkout", "dependsOn": ["carts"]})
    changes = {
        "id": service["id"],
        "expectedVersion": 1,
        "name": "checkouts",
        "displayName": "Checkout",
        "description": "Takes the money",
        "tier": 5,
        "teamId": team,
        "repositoryUrl": "https://git.example.org/checkout",
        "documentationUrl": "https://docs.example.org/checkout",
        "runbookUrl": "https://wiki.example.org/checkout",
        "labels": {"region": "eu"},
        "selectors": {"tempo": "shop-checkout"},
        "dependsOn": ["payments"],
    }
    same = [name for name in changes if name not in ("id", "expectedVersion", "teamId", "selectors", "dependsOn")]
    selection = f"""service {{
      {" ".join(same)} team {{ id }} selectors {{ prometheus tempo }} version dependencies {{ dependsOn {{ name }} }}
    }}"""
    changed = await api.changed("updateService", selection, input=changes)
    assert changed == {
        **{name: changes[name] for name in same},
        "team": {"id": team},
        "selectors": {"prometheus": {"service": "checkouts"}, "tempo": "shop-checkout"},
        "version": 2,
        "dependencies": [{"dependsOn": {"name": "payments"}}],
    }
    left_out = await api.changed("updateService", selection, input={"id": service["id"], "tier": 4})
    assert left_out == {**changed, "tier": 4, "version": 3}
    emptied = {name: None for name in changes if name not in ("id", "expectedVersion", "name")}
    assert await api.changed("updateService", selection, input={"id": service["id"], **emptied}) == {
        "name": "checkouts",
        "displayName": "checkouts",
        "description": "",
        "tier": None,
        "repositoryUrl": None,
        "documentationUrl": None,
        "runbookUrl": None,
        "labels": {},
        "team": None,
        "selectors": {"prometheus": {"service": "checkouts"}, "tempo": "checkouts"},
        "version": 4,
        "dependencies": [],
    }


async def test_a_change_of_an_old_version_of_a_service_is_a_conflict(api):
    id = (await api.changed("createService", "service { id }", input={"name": "checkout"}))["id"]
    await api.changed("updateService", "service { id }", input={"id": id, "tier": 1})
    error = await api.refused("updateService", "service { id }", input={"id": id, "expectedVersion": 1, "tier": 2})
    assert (error["__typename"], error["path"], error["currentVersion"]) == (
        "ConflictError",
        ["input", "expectedVersion"],
        2,
    )


async def test_a_service_that_cannot_be_is_refused_with_the_field(api):
    for wrong, path in [
        ({"name": " "}, ["name"]),
        ({"name": NOWHERE}, ["name"]),
        ({"name": "a\u200bb"}, ["name"]),
        ({"displayName": ""}, ["displayName"]),
        ({"tier": 6}, ["tier"]),
        ({"teamId": NOWHERE}, ["teamId"]),
        ({"teamId": "payments"}, ["teamId"]),
        ({"runbookUrl": "https://" + "a" * 2_000}, ["runbookUrl"]),
        ({"labels": {"": "value"}}, ["labels"]),
        ({"selectors": {"prometheus": {"job-name": "x"}}}, ["selectors", "prometheus"]),
        ({"selectors": {"loki": "app"}}, ["selectors", "loki"]),
        ({"selectors": {"tempo": "\0"}}, ["selectors", "tempo"]),
        ({"telemetryInstances": {"prometheus": "EU"}}, ["telemetryInstances", "prometheus"]),
        ({"dependsOn": ["carts", NOWHERE]}, ["dependsOn", "1"]),
        ({"dependsOn": ["checkout"]}, ["dependsOn", "0"]),
        ({"dependsOn": [f"service-{number}" for number in range(1_000)]}, ["dependsOn"]),
    ]:
        known = {"name": "checkout", **wrong}
        error = await api.refused("createService", "service { id }", input=known)
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])


async def test_a_service_is_deleted(api):
    id = (await api.changed("createService", "service { id }", input={"name": "checkout"}))["id"]
    assert await api.changed("deleteService", "deletedId", id=id) == id
    assert await api("query($id: ID!) { service(id: $id) { id } }", id=id) == {"data": {"service": None}}
    error = await api.refused("deleteService", "deletedId", id=id)
    assert (error["__typename"], error["path"]) == ("NotFoundError", ["id"])


async def test_a_service_that_an_incident_hurts_is_not_deleted(api, incident):
    [service] = (await api("{ services { nodes { id } } }"))["data"]["services"]["nodes"]
    error = await api.refused("deleteService", "deletedId", id=service["id"])
    assert (error["__typename"], error["path"]) == ("ConflictError", ["id"])
    assert error["message"].startswith('Service "checkout" belongs to 1 incident')


async def test_a_recorded_deployment_shows_on_the_timelines_of_the_incidents_it_can_matter_to(api, incident):
    known = {
        "service": "checkout",
        "version": "1.2.3",
        "environment": "staging",
        "commit": "0f1e2d3",
        "description": "Faster carts",
        "outcome": "FAILED",
        "url": "https://ci.example.org/1",
        "startedAt": "2026-03-01T11:50:00+00:00",
        "finishedAt": "2026-03-01T11:55:00+00:00",
        "idempotencyKey": "build-1",
    }
    same = [name for name in known if name not in ("service", "idempotencyKey")]
    selection = f"deployment {{ id {' '.join(same)} service {{ name }} }}"
    recorded = await api.changed("recordDeployment", selection, input=known)
    assert recorded == {
        "id": recorded["id"],
        **{name: known[name] for name in same},
        "service": {"name": "checkout"},
    }
    before = await api.written()
    assert await api.changed("recordDeployment", selection, input=known) == recorded
    assert await api.written() == before
    document = "query($id: ID!) { incident(id: $id) { timeline(first: 1) { nodes { type title } } } }"
    timeline = (await api(document, id=incident))["data"]["incident"]["timeline"]["nodes"]
    assert timeline == [{"type": "DEPLOYMENT", "title": "checkout 1.2.3 failed to deploy to staging"}]


async def test_a_service_and_a_version_are_enough_for_a_deployment(api):
    selection = "deployment { environment outcome startedAt finishedAt commit service { name discoveredAt } }"
    known = {"service": "carts", "version": "7"}
    assert await api.changed("recordDeployment", selection, input=known) == {
        "environment": "production",
        "outcome": "SUCCEEDED",
        "startedAt": "2026-03-01T12:00:00+00:00",
        "finishedAt": "2026-03-01T12:00:00+00:00",
        "commit": None,
        "service": {"name": "carts", "discoveredAt": "2026-03-01T12:00:00+00:00"},
    }


async def test_a_deployment_that_cannot_be_is_refused_with_the_field(api):
    for wrong, path in [
        ({"service": ""}, ["service"]),
        ({"service": NOWHERE}, ["service"]),
        ({"version": " "}, ["version"]),
        ({"environment": None}, ["environment"]),
        ({"outcome": None}, ["outcome"]),
        ({"commit": ""}, ["commit"]),
        ({"startedAt": "2027-01-01T00:00:00Z"}, ["startedAt"]),
        ({"finishedAt": "2026-01-01T00:00:00Z", "startedAt": "2026-01-01T00:00:01Z"}, ["finishedAt"]),
        ({"finishedAt": "2026-01-01T00:00:00Z", "outcome": "IN_PROGRESS"}, ["finishedAt"]),
    ]:
        known = {"service": "checkout", "version": "1", **wrong}
        error = await api.refused("recordDeployment", "deployment { id }", input=known)
        assert (error["__typename"], error["path"]) == ("ValidationError", ["input", *path])


async def test_a_deployment_in_progress_is_finished(api):
    known = {"service": "checkout", "version": "1", "outcome": "IN_PROGRESS"}
    begun = await api.changed("recordDeployment", "deployment { id outcome finishedAt }", input=known)
    assert begun == {"id": begun["id"], "outcome": "IN_PROGRESS", "finishedAt": None}
    api.wait(minutes=3)
    finished = await api.changed(
        "finishDeployment", "deployment { outcome finishedAt }", id=begun["id"], outcome="SUCCEEDED"
    )
    assert finished == {"outcome": "SUCCEEDED", "finishedAt": "2026-03-01T12:03:00+00:00"}
    rolled_back = await api.changed(
        "finishDeployment",
        "deployment { outcome finishedAt }",
        id=begun["id"],
        outcome="ROLLED_BACK",
        finishedAt="2026-03-01T12:02:00+00:00",
    )
    assert rolled_back == {"outcome": "ROLLED_BACK", "finishedAt": "2026-03-01T12:02:00+00:00"}


async def test_a_deployment_that_is_not_there_is_not_finished(api):
    for id in [NOWHERE, "checkout 1"]:
        error = await api.refused("finishDeployment", "deployment { id }", id=id, outcome="FAILED")
        assert (error["__typename"], error["path"]) == ("NotFoundError", ["id"])


async def test_a_deployment_is_not_finished_as_in_progress(api):
    id = (await api.changed("recordDeployment", "deployment { id }", input={"service": "carts", "version": "1"}))["id"]
    error = await api.refused("finishDeployment", "deployment { id }", id=id, outcome="IN_PROGRESS")
    assert (error["__typename"], error["path"]) == ("ValidationError", ["outcome"])


async def test_a_service_that_is_not_there_is_neither_changed_nor_deleted(api):
    for id in [NOWHERE, "checkout", "\ud800"]:
        error = await api.refused("updateService", "service { id }", input={"id": id, "tier": 1})
        assert (error["__typename"], error["path"]) == ("NotFoundError", ["input", "id"])
        error = await api.refused("deleteService", "deletedId", id=id)
        assert (error["__typename"], error["path"]) == ("NotFoundError", ["id"])
