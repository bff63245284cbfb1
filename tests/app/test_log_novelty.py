"""Kinds of log lines that a service has never logged, against a local Loki."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from actions import jobs
from actions.log_baselines import MOST_TEMPLATES
from app.alert_intake import AlertIntake
from app.background import in_background
from app.detection import KIND, Detection
from app.jobs import EVERYTHING
from app.retention import Retention
from telemetry_clients.instances import Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.loki.answers import nanoseconds
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import Api, api, operations
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.waiting import until

__all__ = ["api", "operations"]  # fixtures

OK = {"checkout": "OK", "payment": "OK"}
SETTLED = timedelta(seconds=10)
SAID = "{ alerts { nodes { name status annotations service { name } } } }"
STATES = """{ detectionRules { nodes { name lastError states { service { name } status lastValue } } } }"""


@pytest.fixture
async def loki(api: Api) -> AsyncIterator[LocalLoki]:
    async with local_loki() as server, Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        api.telemetry = Telemetry(loki=Instances("Loki", {"default": Loki(transport)}))
        server.label_values = {"service_name": ["checkout", "payment"]}
        yield server


@pytest.fixture
async def rule(api: Api, loki: LocalLoki) -> str:
    """The id of a rule that looks for new errors, of two services that are known."""
    for name in ("checkout", "payment"):
        await api.changed("createService", "service { id }", input={"name": name})
    new = {"name": "New errors", "kind": "LOG_NOVELTY", "severity": "LOW", "parameters": {"resolveSeconds": 0}}
    return str((await api.changed("createDetectionRule", "detectionRule { id }", input=new))["id"])


def starting(api: Api) -> Detection:
    """The detection of a server that knows nothing but what is in the database."""
    return Detection(api.database, api.telemetry, now=lambda: api.now, interval_seconds=30)


def write(api: Api, loki: LocalLoki, name: str, line: str, *, seconds_ago: float, times: int = 10) -> None:
    for number in range(times):
        time_ns = nanoseconds(api.now - timedelta(seconds=seconds_ago)) + number
        loki.lines.append((time_ns, {"service_name": name}, f"level=error {line} after {number} ms"))


async def evaluate(api: Api, detection: Detection, *, after_seconds: float) -> dict[str, str]:
    """Evaluate once; the status of each service."""
    api.now += timedelta(seconds=after_seconds)
    async with api.database.writing(api.now) as tx:
        await jobs.enqueue(tx, KIND, EVERYTHING)
        [job] = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=1)
    await detection.evaluate(job)
    async with api.database.writing(api.now) as tx:
        assert await jobs.finish(tx, job)
    rules = (await api(STATES))["data"]["detectionRules"]["nodes"]
    [rule] = [rule for rule in rules if rule["name"] == "New errors"]
    assert rule["lastError"] is None
    return {state["service"]["name"]: state["status"] for state in rule["states"]}


async def test_errors_of_a_new_kind_fire_for_a_while_and_known_ones_do_not(
    api: Api, loki: LocalLoki, rule: str
) -> None:
    write(api, loki, "checkout", "pay/card.go:77 card declined", seconds_ago=3600)
    write(api, loki, "payment", "ledger is slow", seconds_ago=60)
    detection = starting(api)

    assert await evaluate(api, detection, after_seconds=30) == {"checkout": "OK", "payment": "OK"}
    queries = len(loki.asked_for("query_range"))
    write(api, loki, "checkout", "pay/card.go:81 card declined", seconds_ago=0)  # the same, in an edited file
    write(api, loki, "payment", "connection to vault refused by peer", seconds_ago=0)
    assert await evaluate(api, detection, after_seconds=30) == {"checkout": "OK", "payment": "FIRING"}
    assert len(loki.asked_for("query_range")) == queries + 1, "one query for all services"

    async with in_background({"alerts": AlertIntake(api.database, now=lambda: api.now).run}):

        async def is_told() -> bool:
            return bool((await api(SAID))["data"]["alerts"]["nodes"])

        await until(is_told)
    [alert] = (await api(SAID))["data"]["alerts"]["nodes"]
    assert (alert["name"], alert["service"], alert["status"]) == ("New errors", {"name": "payment"}, "FIRING")
    assert "connection to vault refused by peer after <_>" in alert["annotations"]["summary"]

    write(api, loki, "payment", "connection to vault refused by peer", seconds_ago=0)
    assert await evaluate(api, detection, after_seconds=1_000) == {"checkout": "OK", "payment": "OK"}


async def test_a_server_that_starts_knows_what_the_one_before_has_learnt(api: Api, loki: LocalLoki, rule: str) -> None:
    write(api, loki, "checkout", "card declined", seconds_ago=3600)
    write(api, loki, "checkout", "pay/card.go:77 gave up", seconds_ago=3600)
    assert await evaluate(api, starting(api), after_seconds=30) == OK

    api.now += timedelta(days=3)  # Nobody is there, and nothing of it is in the logs of the last day.
    write(api, loki, "checkout", "card declined", seconds_ago=0)
    write(api, loki, "checkout", "pay/card.go:81 gave up", seconds_ago=0)  # the same, in an edited file
    write(api, loki, "payment", "connection to vault refused by peer", seconds_ago=3_600)
    started = starting(api)
    assert await evaluate(api, started, after_seconds=30) == {"checkout": "OK", "payment": "FIRING"}

    # And one that starts while it fires neither ends it nor tells of it for longer.
    assert await evaluate(api, starting(api), after_seconds=30) == {"checkout": "OK", "payment": "FIRING"}
    assert await evaluate(api, starting(api), after_seconds=1_000) == OK


async def test_servers_that_take_turns_share_what_they_learn(api: Api, loki: LocalLoki, rule: str) -> None:
    one, other = starting(api), starting(api)
    write(api, loki, "checkout", "card declined", seconds_ago=60)
    assert await evaluate(api, one, after_seconds=30) == OK
    until = api.now - SETTLED
    write(api, loki, "payment", "ledger is slow", seconds_ago=0)
    assert await evaluate(api, other, after_seconds=30) == {"checkout": "OK", "payment": "FIRING"}
    asked = loki.asked_for("query_range")[-1]
    assert int(asked["start"]) == nanoseconds(until), "what was read once is not read again"

    assert await evaluate(api, one, after_seconds=1_000) == OK, "as the other would have said by now"

    # What the other has learnt, this one does not tell of again, though it read nothing of it itself.
    api.now += timedelta(days=2)
    for name in ("checkout", "payment"):
        write(api, loki, name, "ledger is slow", seconds_ago=0)
    assert await evaluate(api, one, after_seconds=30) == {"checkout": "FIRING", "payment": "OK"}


async def test_what_could_not_be_kept_is_not_taken_for_known(api: Api, loki: LocalLoki, rule: str) -> None:
    detection = starting(api)
    write(api, loki, "checkout", "card declined", seconds_ago=60)
    assert await evaluate(api, detection, after_seconds=30) == OK
    write(api, loki, "payment", "ledger is slow", seconds_ago=0)
    async with api.database.writing(api.now) as tx:
        await tx.execute(text("alter table log_templates add constraint refused check (count < 0) not valid"))
    with pytest.raises(IntegrityError, match="refused"):
        await evaluate(api, detection, after_seconds=30)
    async with api.database.writing(api.now) as tx:
        await tx.execute(text("alter table log_templates drop constraint refused"))
        await tx.execute(text("delete from jobs"))
    assert await evaluate(api, detection, after_seconds=30) == {"checkout": "OK", "payment": "FIRING"}


async def test_of_each_service_only_so_many_kinds_are_known_and_the_oldest_give_way(
    api: Api, loki: LocalLoki, rule: str
) -> None:
    detection = starting(api)
    write(api, loki, "payment", "ledger is slow", seconds_ago=60)
    for batch in range(2):
        for number in range(200):
            write(api, loki, "checkout", f"pay/card{batch}{number}.go:7 gave up", seconds_ago=0, times=1)
        write(api, loki, "checkout", "ledger is slow", seconds_ago=0)
        await evaluate(api, detection, after_seconds=30)
    assert (await api.written())["log_templates"] == MOST_TEMPLATES + 1

    # As a server knows it that starts now: the second half, what has gone on since, and nothing of the oldest.
    started = starting(api)
    api.now += timedelta(hours=1)
    write(api, loki, "checkout", "ledger is slow", seconds_ago=0)
    write(api, loki, "checkout", "pay/card17.go:7 gave up", seconds_ago=0)
    assert await evaluate(api, started, after_seconds=30) == OK
    for number in range(200):
        write(api, loki, "checkout", f"pay/card0{number}.go:7 gave up", seconds_ago=0)
    assert await evaluate(api, started, after_seconds=30) == {"checkout": "FIRING", "payment": "OK"}
    assert (await api.written())["log_templates"] == MOST_TEMPLATES + 1


async def test_lines_that_cannot_be_stored_as_they_are_do_not_stop_a_rule(api: Api, loki: LocalLoki, rule: str) -> None:
    write(api, loki, "checkout", "half \0 written \ud83d\ude00", seconds_ago=60)
    assert await evaluate(api, starting(api), after_seconds=30) == OK
    api.now += timedelta(days=2)
    write(api, loki, "checkout", "half \0 written \ud83d\ude00", seconds_ago=0)
    assert await evaluate(api, starting(api), after_seconds=30) == OK


async def test_a_rule_that_looks_at_other_lines_learns_anew_and_one_that_is_gone_leaves_nothing(
    api: Api, loki: LocalLoki, rule: str
) -> None:
    detection = starting(api)
    write(api, loki, "checkout", "card declined", seconds_ago=60)
    await evaluate(api, detection, after_seconds=30)
    assert (await api.written())["log_templates"] == 1
    await api.changed("updateDetectionRule", "detectionRule { id }", input={"id": rule, "severity": "HIGH"})
    assert (await api.written())["log_templates"] == 1

    parameters = {"resolveSeconds": 0, "levels": ["WARN"]}
    await api.changed("updateDetectionRule", "detectionRule { id }", input={"id": rule, "parameters": parameters})
    assert (await api.written())["log_templates"] == 0
    for line in ("retrying", "retrying once more"):
        loki.lines.append((nanoseconds(api.now), {"service_name": "checkout"}, f"level=warn {line}"))
    assert await evaluate(api, detection, after_seconds=30) == OK, "all of it is known from the beginning"
    assert (await api.written())["log_templates"] == 2

    await api.changed("deleteDetectionRule", "deletedId", id=rule)
    written = await api.written()
    assert (written["log_baselines"], written["log_templates"]) == (0, 0)


async def test_what_no_rule_has_looked_at_for_a_month_is_forgotten(api: Api, loki: LocalLoki, rule: str) -> None:
    write(api, loki, "checkout", "card declined", seconds_ago=60)
    await evaluate(api, starting(api), after_seconds=30)
    for days, forgotten in ((29, 0), (2, 2)):
        api.now += timedelta(days=days)
        retention = Retention(api.database, events_days=400, audit_days=400, now=lambda: api.now)
        assert (await retention.forget())["log_baselines"] == forgotten
    assert (await api.written())["log_templates"] == 0
