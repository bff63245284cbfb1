"""Logs of a service that writes more lines than anybody wants to read: Loki counts, and finds patterns itself."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from actions.gathered_logs import GatheredLogs, gather_logs
from actions.surroundings import NearService, Surroundings
from domain.telemetry import LogLevel
from domain.time import Deadline
from engines.correlation import analyse
from engines.correlation.evidence import Evidence
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.loki_server import LocalLoki, local_loki

NOTICED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
START, END = NOTICED_AT - timedelta(minutes=30), NOTICED_AT + timedelta(minutes=5)
RARE = "ERROR cannot reach the card processor, order"


def busy(loki: LocalLoki) -> None:
    """Half a minute of the fault has rare lines about an error, all minutes have very many that are alike."""
    loki.label_values = {"service_name": ["payment"]}
    labels = {"service_name": "payment"}
    first = int(START.timestamp())
    for second in range(first, int(END.timestamp())):
        loki.lines += [(second * 10**9 + n, labels, f"INFO served order {second + n}") for n in range(5)]
    fault = int(NOTICED_AT.timestamp()) - 240
    loki.lines += [(at * 10**9 + 9, labels, f"{RARE} {at}") for at in range(fault, fault + 30)]


def pattern(template: str, level: str, counts: dict[int, int]) -> dict[str, Any]:
    samples = [[int(NOTICED_AT.timestamp()) + at, count] for at, count in sorted(counts.items())]
    return {"pattern": template, "level": level, "samples": samples}


def known_patterns() -> list[object]:
    """What a Loki finds that has seen all lines."""
    usual = pattern("INFO served order <_>", "info", dict.fromkeys(range(-1800, 300, 10), 50))
    return [usual, pattern(f"{RARE} <_>", "error", dict.fromkeys(range(-240, -210, 10), 10))]


async def gathered(loki: LocalLoki) -> tuple[GatheredLogs, Evidence]:
    known = Evidence(("payment",), NOTICED_AT.timestamp(), START.timestamp(), END.timestamp())
    service = NearService(uuid4(), "payment")
    around = Surroundings({}, START, END, ("payment",), (service,), known)  # type: ignore[arg-type]  # no row is read
    async with Transport(Endpoint(backend="Loki", url=loki.url)) as transport:
        telemetry = Telemetry(loki=Instances("Loki", {DEFAULT: Loki(transport)}))
        logs, gaps = await gather_logs(telemetry, None, [service], around, Deadline.after(10))
    assert gaps == ()
    return logs, known


async def test_a_rare_line_that_no_sample_has_is_found_where_loki_finds_patterns_itself() -> None:
    async with local_loki() as loki:
        busy(loki)
        loki.patterns = known_patterns()
        logs, _ = await gathered(loki)

    [rare] = [it for it in logs.patterns if it.level is LogLevel.ERROR]
    assert (rare.template, int(rare.counts.sum())) == (f"{RARE} <_>", 30)
    assert "|> " in rare.source.query
    [usual] = [it for it in logs.patterns if it.level is LogLevel.INFO]
    assert int(usual.counts.sum()) == 10_500
    assert usual.sample.startswith("INFO served order")


async def test_what_is_found_in_that_way_is_evidence_like_any_other() -> None:
    async with local_loki() as loki:
        busy(loki)
        loki.patterns = known_patterns()
        logs, known = await gathered(loki)

    evidence = Evidence(
        known.services, known.noticed_at, known.start, known.end, log_times=logs.times, patterns=logs.patterns
    )
    [first, *_] = analyse(evidence).causes
    assert (first.service, "cannot reach the card processor" in first.explanation) == ("payment", True)


@pytest.mark.parametrize("patterns", [None, [], [pattern("INFO served order <_>", "info", {-60: 50})]])
async def test_a_loki_that_knows_no_patterns_or_those_of_a_minute_leaves_the_samples_as_they_are(
    patterns: list[object] | None,
) -> None:
    async with local_loki() as loki:
        busy(loki)
        loki.patterns = patterns
        logs, _ = await gathered(loki)

    [usual] = [it for it in logs.patterns if it.level is LogLevel.INFO]
    assert 10_400 <= int(usual.counts.sum()) <= 10_600


async def test_a_service_that_writes_little_is_read_in_full_and_no_patterns_are_asked_for() -> None:
    async with local_loki() as loki:
        loki.label_values = {"service_name": ["payment"]}
        at = int(NOTICED_AT.timestamp()) - 60
        loki.lines = [(at * 10**9, {"service_name": "payment"}, "INFO served order 7")]
        await gathered(loki)

    assert not [path for path, _ in loki.asked if path.endswith("/patterns")]
