"""Alerts in, incidents out: one incident for one trouble, and a timeline that says why."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert

from actions import dependencies, incidents, services, timeline
from actions.alerts import places
from actions.alerts.upkeep import settle
from actions.discovery import references
from actions.incidents import IncidentChanges
from actions.services import NewService
from actions.slos.alerts import Alert
from actions.slos.alerts import settle as settle_budgets
from db.alerts import alert_dispositions, alert_occurrences, alert_suppressions, alerts, maintenance_windows, silences
from db.incidents import incidents as incidents_table
from db.incidents import incidents_services
from db.outbox import outbox
from domain.grouping import GroupingRules
from domain.incidents import IncidentStatus, Severity
from tests.actions.alerting import EARLIER, deliver, firing, processed, resolved
from tests.actions.conftest import NOON, Studio

RULES = GroupingRules()
SLOW = {"alertname": "Slow", "service": "search"}


async def told(studio: Studio, *alerts: Any, **more: Any) -> UUID:
    """Deliver alerts and process them; returns the receipt."""
    receipt = await deliver(studio, *alerts, **more)
    await processed(studio)
    return receipt


async def upkeep(studio: Studio, **wait: float) -> None:
    studio.wait(**wait)
    async with studio.database.writing(studio.now) as tx:
        await settle(tx, RULES)
    await processed(studio)


async def opened(studio: Studio) -> list[dict[str, Any]]:
    return sorted(await studio.rows(incidents_table), key=lambda incident: incident["number"])


async def titles(studio: Studio, incident_id: UUID) -> list[str]:
    return [entry["title"] for entry in await studio.timeline(incident_id)]


async def depends(studio: Studio, service: str, *on: str) -> None:
    incident = await studio.open_incident(service, *on)
    await studio.do(incidents.resolve, incident)
    row = await studio.service(service)

    async def change(tx: Any) -> None:
        await dependencies.declare(tx, row["id"], references(on, "dependsOn"), actor=studio.actor)

    await studio.database.transact(change, now=studio.now)


async def test_a_firing_alert_opens_an_incident_on_its_service_and_says_why(studio: Studio):
    await told(studio, firing("checkout", annotations={"summary": "One of ten orders fails"}))
    [incident] = await opened(studio)
    known = {column: incident[column] for column in ("title", "status", "source", "severity", "started_at")}
    assert known == {
        "title": "HighErrorRatio on checkout: One of ten orders fails",
        "status": "OPEN",
        "source": "ALERT",
        "severity": "MEDIUM",
        "started_at": EARLIER,
    }
    service = await studio.service("checkout")
    assert (service["status"], service["discovered_at"]) == ("DEGRADED", NOON)
    first, second = await studio.timeline(incident["id"])
    assert first["title"] == "Opened by alertmanager: checkout affected"
    assert (second["title"], second["description"], second["source"]) == (
        "HighErrorRatio on checkout fires",
        "Joined because no active incident is about this, so that it was opened.",
        "alertmanager",
    )
    [alert] = await studio.rows(alerts)
    assert (alert["incident_id"], alert["service_id"]) == (incident["id"], service["id"])
    [fired] = await studio.rows(outbox, type="ALERT_FIRED")
    assert (fired["subject_id"], fired["incident_id"], fired["service_ids"]) == (
        alert["id"],
        incident["id"],
        [service["id"]],
    )


async def test_alerts_about_one_service_are_one_incident_with_the_highest_severity(studio: Studio):
    await told(studio, firing("checkout"))
    slow = firing("checkout", minute=5, labels={"alertname": "Slow", "service": "checkout", "severity": "critical"})
    await told(studio, slow)
    await told(studio, firing("Checkout", minute=6, labels={"alertname": "Late", "service": "Checkout"}))
    [incident] = await opened(studio)
    assert incident["severity"] == "CRITICAL"
    assert (await studio.service("checkout"))["status"] == "DOWN"
    assert "Severity raised from MEDIUM to CRITICAL" in await titles(studio, incident["id"])
    assert [row["incident_id"] for row in await studio.rows(alerts)] == [incident["id"]] * 3
    joined = [entry["description"] for entry in await studio.timeline(incident["id"]) if "Slow" in entry["title"]]
    assert joined == ["Joined because it is about checkout too."]


async def test_strangers_without_a_service_never_share_an_incident(studio: Studio):
    strangers = [firing(labels={"alertname": name}) for name in ("DiskFull", "ClockSkew")]
    await told(studio, *strangers, group_key="{}:{}")
    assert len(await opened(studio)) == 2
    friends = [firing(labels={"alertname": name, "team": "db"}) for name in ("Lag", "Bloat")]
    await told(studio, *friends, group_key='{}:{team="db"}')
    assert len(await opened(studio)) == 3


async def test_an_incident_whose_alerts_are_over_for_a_while_is_mitigated_and_its_service_well(studio: Studio):
    await told(studio, firing("checkout"))
    await told(studio, resolved("checkout", end=60))
    await upkeep(studio, seconds=60)
    assert [row["status"] for row in await opened(studio)] == ["OPEN"]
    await upkeep(studio, seconds=61)
    [incident] = await opened(studio)
    assert incident["status"] == "MITIGATED"
    assert (await studio.service("checkout"))["status"] == "HEALTHY"
    assert (await titles(studio, incident["id"]))[-2:] == [
        "HighErrorRatio on checkout is resolved",
        "Mitigated by alerts",
    ]
    assert len(await studio.rows(outbox, type="ALERT_RESOLVED")) == 1
    await upkeep(studio, hours=100)
    assert [row["status"] for row in await opened(studio)] == ["MITIGATED"]


async def spend_budget(studio: Studio, *, until: timedelta | None = None) -> None:
    alert = Alert(
        fingerprint="slo:7:exhausted",
        name="availability: error budget is spent",
        severity=Severity.HIGH,
        starts_at=EARLIER,
        labels={"service": "checkout"},
    )

    async def change(tx: Any) -> None:
        firing_now = [alert] if until is None else []
        await settle_budgets(tx, firing_now, about=[alert.fingerprint], at=EARLIER + (until or timedelta()))

    await studio.database.transact(change, now=studio.now)
    await processed(studio)


async def test_a_budget_that_stays_spent_does_not_keep_an_incident_open_whose_trouble_is_over(studio: Studio):
    await told(studio, firing("checkout"))
    await spend_budget(studio)
    await upkeep(studio, minutes=10)
    assert [row["status"] for row in await opened(studio)] == ["OPEN"]

    await told(studio, resolved("checkout", end=71))
    await upkeep(studio, seconds=121)

    [incident] = await opened(studio)
    assert incident["status"] == "MITIGATED"
    [mitigated] = [it for it in await studio.timeline(incident["id"]) if it["title"] == "Mitigated by alerts"]
    assert "but for what says that an error budget is spent" in mitigated["description"]
    await upkeep(studio, hours=2)
    assert [row["status"] for row in await opened(studio)] == ["MITIGATED"]


async def test_a_spent_budget_alone_keeps_its_incident_open_until_there_is_some_again(studio: Studio):
    await spend_budget(studio)
    await upkeep(studio, hours=1)
    assert [row["status"] for row in await opened(studio)] == ["OPEN"]

    await spend_budget(studio, until=timedelta(minutes=110))
    await upkeep(studio, minutes=3)
    assert [row["status"] for row in await opened(studio)] == ["MITIGATED"]


async def test_a_mitigated_incident_whose_alert_fires_again_is_reopened(studio: Studio):
    await told(studio, firing("checkout"), resolved("checkout", end=5))
    await upkeep(studio, seconds=121)
    await told(studio, firing("checkout", minute=62))
    [incident] = await opened(studio)
    assert incident["status"] == "OPEN"
    assert (await studio.service("checkout"))["status"] == "DEGRADED"
    [reopened] = [it for it in await studio.timeline(incident["id"]) if it["title"].startswith("Reopened")]
    assert reopened["description"] == "HighErrorRatio fires again"
    occurrences = await studio.rows(alert_occurrences, incident_id=incident["id"])
    assert len(occurrences) == 2


async def test_what_a_person_reopens_is_not_mitigated_behind_their_back(studio: Studio):
    await told(studio, firing("checkout"), resolved("checkout", end=5))
    await upkeep(studio, seconds=121)
    [incident] = await opened(studio)
    await studio.do(incidents.reopen, incident["id"], reason="Customers still complain")
    await upkeep(studio, hours=1)
    assert (await studio.incident(incident["id"]))["status"] == "OPEN"


async def test_an_alert_that_fires_after_its_incident_was_resolved_opens_another(studio: Studio):
    await told(studio, firing("checkout"), resolved("checkout", end=5))
    [first] = await opened(studio)
    await studio.do(incidents.resolve, first["id"])
    await told(studio, firing("checkout", minute=59))
    assert [row["status"] for row in await opened(studio)] == ["RESOLVED", "OPEN"]
    belongs = {row["starts_at"]: row["incident_id"] for row in await studio.rows(alert_occurrences)}
    assert belongs[EARLIER] == first["id"]
    assert belongs[EARLIER + timedelta(minutes=59)] != first["id"]


async def test_a_flapping_alert_keeps_its_incident_open_until_it_is_quiet_for_as_long(studio: Studio):
    for minute in (46, 50, 54):
        await told(studio, firing("checkout", minute=minute), resolved("checkout", minute=minute, end=minute + 2))
    [incident] = await opened(studio)
    flaps = "HighErrorRatio is flapping: it fired 3 times in 15 minutes"
    assert (await titles(studio, incident["id"])).count(flaps) == 1
    await upkeep(studio, minutes=5)
    assert (await studio.incident(incident["id"]))["status"] == "OPEN"
    await upkeep(studio, minutes=10)
    assert (await studio.incident(incident["id"]))["status"] == "MITIGATED"
    assert (await titles(studio, incident["id"])).count(flaps) == 1


async def test_one_alert_that_fires_several_times_at_once_is_told_of_as_one(studio: Studio):
    minutes = (46, 50, 54)
    await told(studio, *(it for at in minutes for it in (firing(minute=at), resolved(minute=at, end=at + 2))))
    [incident] = await opened(studio)
    [alert] = await studio.rows(alerts)
    entries = [it for it in await studio.timeline(incident["id"]) if "times" in it["title"]]
    assert [it["title"] for it in entries] == [
        "HighErrorRatio on checkout fires, 2 times",
        "HighErrorRatio on checkout is resolved, 3 times",
        "HighErrorRatio is flapping: it fired 3 times in 15 minutes",
    ]
    for it in entries[:2]:
        assert (it["metadata"]["alertIds"], it["metadata"]["alerts"]) == ([str(alert["id"])], 1)


async def test_trouble_of_a_dependency_and_of_those_who_need_it_is_one_incident(studio: Studio):
    await depends(studio, "frontend", "checkout")
    await depends(studio, "checkout", "payment")
    before = len(await opened(studio))
    await told(studio, firing("payment"))
    await told(studio, firing("checkout", minute=2))
    await told(studio, firing("frontend", minute=4))
    await told(studio, firing("search", minute=4))
    incident, other = (await opened(studio))[before:]
    hurt = await studio.rows(incidents_services, incident_id=incident["id"])
    assert sorted(row["level"] for row in hurt) == ["PRIMARY", "SECONDARY", "SECONDARY"]
    reasons = [entry["description"] for entry in await studio.timeline(incident["id"])]
    assert "Joined because checkout depends on payment, and both were hit within 2 min." in reasons
    assert other["title"] == "HighErrorRatio on search"


async def test_a_cause_that_alerts_after_its_symptoms_makes_one_incident_of_them(studio: Studio):
    await depends(studio, "checkout", "payment")
    await depends(studio, "search", "payment")
    before = len(await opened(studio))
    critical = {"alertname": "Down", "service": "search", "severity": "critical"}
    await told(studio, firing("checkout", minute=2))
    await told(studio, firing("search", minute=3, labels=critical))
    assert [row["status"] for row in (await opened(studio))[before:]] == ["OPEN", "OPEN"]
    await told(studio, firing("payment", minute=1))
    kept, merged = (await opened(studio))[before:]
    assert (kept["status"], kept["severity"], kept["started_at"]) == (
        "OPEN",
        "CRITICAL",
        EARLIER + timedelta(minutes=1),
    )
    because = "search depends on payment, and both were hit within 2 min"
    name = f"INC-{kept['number']}"
    assert (merged["status"], merged["resolution"]) == ("RESOLVED", f"Merged into {name}, because {because}.")
    assert {row["incident_id"] for row in await studio.rows(alerts)} == {kept["id"]}
    assert {row["incident_id"] for row in await studio.rows(alert_occurrences)} == {kept["id"]}
    hurt = await studio.rows(incidents_services, incident_id=kept["id"])
    assert sorted(row["level"] for row in hurt) == ["PRIMARY", "SECONDARY", "SECONDARY"]
    [entry] = [it for it in await studio.timeline(kept["id"]) if "merged into this incident" in it["title"]]
    assert (entry["title"], entry["description"]) == (
        f"INC-{merged['number']} was merged into this incident",
        f"Because {because}.",
    )
    await told(studio, firing("search", minute=4, labels={"alertname": "Slow", "service": "search"}))
    assert len(await opened(studio)) == before + 2
    assert (await studio.service("search"))["status"] == "DEGRADED"


@pytest.mark.parametrize("touch", ["acknowledge", "note", "detach"])
async def test_what_people_work_on_is_not_merged_but_said_to_be_the_same(studio: Studio, touch: str):
    await depends(studio, "checkout", "payment")
    await depends(studio, "search", "payment")
    before = len(await opened(studio))
    await told(studio, firing("checkout", minute=2))
    await told(studio, firing("search", minute=3), firing("search", minute=3, labels=SLOW))
    _, worked_on = (await opened(studio))[before:]
    if touch == "acknowledge":
        await studio.do(incidents.acknowledge, worked_on["id"])
    elif touch == "note":
        await studio.do(timeline.add_note, worked_on["id"], "It is the index")
    else:
        [slow] = [row for row in await studio.rows(alerts) if row["name"] == "Slow"]
        await studio.do(places.detach, slow["id"])
    await told(studio, firing("payment", minute=1))
    first, second = (await opened(studio))[before : before + 2]
    assert {first["status"], second["status"]} <= {"OPEN", "INVESTIGATING", "RESOLVED"}
    assert second["status"] != "RESOLVED"
    if touch == "acknowledge":  # The alert joins where people are at work, and what nobody has touched is merged.
        assert first["status"] == "RESOLVED"
        return
    told_of = [entry["title"] for entry in await studio.timeline(second["id"])]
    assert f"INC-{first['number']} looks like the same trouble" in told_of
    assert f"INC-{second['number']} looks like the same trouble" in await titles(studio, first["id"])


async def test_what_another_cause_explains_stays_apart(studio: Studio):
    await depends(studio, "checkout", "payment", "stock")
    await depends(studio, "search", "stock")
    before = len(await opened(studio))
    await told(studio, firing("payment"))
    await told(studio, firing("checkout", minute=1))
    await told(studio, firing("search", minute=2))
    await told(studio, firing("stock", minute=2))
    explained, other = (await opened(studio))[before:]
    assert (explained["status"], other["status"]) == ("OPEN", "OPEN")
    hurt = {row["service_id"]: row["incident_id"] for row in await studio.rows(incidents_services)}
    assert hurt[(await studio.service("stock"))["id"]] == other["id"]


async def test_services_that_were_hit_at_different_times_are_different_incidents(studio: Studio):
    await depends(studio, "checkout", "payment")
    before = len(await opened(studio))
    await told(studio, firing("payment"))
    await told(studio, firing("checkout", minute=20))
    assert len(await opened(studio)) == before + 2


async def test_whoever_needs_what_is_down_is_a_symptom_however_late(studio: Studio):
    await depends(studio, "checkout", "payment")
    before = len(await opened(studio))
    await told(studio, firing("payment", labels={"alertname": "Down", "service": "payment", "severity": "critical"}))
    await told(studio, firing("checkout", minute=50))
    [incident] = (await opened(studio))[before:]
    [why] = await studio.rows(alert_suppressions)
    assert (why["kind"], why["by"]) == ("INHIBITION", f"INC-{incident['number']}")
    reasons = [entry["description"] for entry in await studio.timeline(incident["id"])]
    assert "Joined because checkout depends on payment, which is down." in reasons


@pytest.mark.parametrize("by", ["window", "silence"])
async def test_alerts_are_suppressed_until_the_maintenance_or_the_silence_ends(studio: Studio, by: str):
    matchers = [{"name": "service", "value": "check.*", "isRegex": True, "isEqual": True}]
    times = {"starts_at": NOON - timedelta(hours=2), "ends_at": NOON + timedelta(minutes=10)}
    async with studio.database.writing(NOON) as tx:
        if by == "window":
            await tx.insert(maintenance_windows, title="Database upgrade", matchers=matchers, **times)
        else:
            row = {"id": "s-1", "comment": "Database upgrade", "matchers": matchers, "seen_at": NOON, **times}
            await tx.execute(insert(silences).values(row))
    receipt = await told(studio, firing("checkout"), firing("search"))
    assert [row["title"] for row in await opened(studio)] == ["HighErrorRatio on search"]
    dispositions = {row["position"]: row for row in await studio.rows(alert_dispositions, delivery_id=receipt)}
    assert [dispositions[0]["disposition"], dispositions[1]["disposition"]] == ["SUPPRESSED", "CREATED"]
    assert "Database upgrade" in dispositions[0]["reason"]
    [why] = await studio.rows(alert_suppressions)
    assert (why["kind"], why["ends_at"]) == ("MAINTENANCE" if by == "window" else "SILENCE", times["ends_at"])
    await upkeep(studio, minutes=9)
    assert len(await opened(studio)) == 1
    await upkeep(studio, minutes=2)
    assert [row["title"] for row in await opened(studio)] == ["HighErrorRatio on search", "HighErrorRatio on checkout"]


async def test_the_declared_selector_with_most_labels_names_the_service(studio: Studio):
    for name, selector in (("shop", {"namespace": "shop"}), ("cart", {"namespace": "shop", "pod": "cart-0"})):
        await studio.do(services.create, NewService(name=name, selectors={"prometheus": selector}))
    labels = {"alertname": "Crash", "namespace": "shop"}
    await told(studio, firing(labels={**labels, "pod": "cart-0"}), firing(labels=labels))
    assert [row["title"] for row in await opened(studio)] == ["Crash on cart", "Crash on shop"]


async def test_a_severity_that_a_person_lowered_is_raised_only_by_a_new_alert(studio: Studio):
    await told(studio, firing(labels={"alertname": "Down", "service": "checkout", "severity": "critical"}))
    [incident] = await opened(studio)
    await studio.do(incidents.update, incident["id"], IncidentChanges(severity=Severity.LOW))
    await told(studio, firing(minute=1, labels={"alertname": "Slow", "service": "checkout", "severity": "warning"}))
    assert (await studio.incident(incident["id"]))["severity"] == "MEDIUM"


async def test_an_alert_joins_what_a_person_opened_on_its_service(studio: Studio):
    mine = await studio.open_incident("checkout")
    await told(studio, firing("checkout"))
    assert [row["id"] for row in await opened(studio)] == [mine]
    await told(studio, resolved("checkout", end=5))
    await upkeep(studio, hours=1)
    assert (await studio.incident(mine))["status"] is IncidentStatus.OPEN


async def test_an_alert_that_was_said_to_end_ends(studio: Studio):
    ends = (NOON + timedelta(minutes=5)).isoformat()
    await told(studio, firing("checkout", endsAt=ends))
    await upkeep(studio, minutes=6)
    [alert] = await studio.rows(alerts)
    assert (alert["status"], alert["ends_at"]) == ("RESOLVED", NOON + timedelta(minutes=5))
    await upkeep(studio, minutes=2)
    [incident] = await opened(studio)
    assert incident["status"] == "MITIGATED"
