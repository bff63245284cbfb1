"""What ordinary execution reads with."""

import asyncio

from db.database import Database
from resolvers.context import Snapshot
from tests.resolvers.client import Client
from tests.waiting import until

# The error of `wrong` makes all of the incident null while `timeline` is still being read.
FAILS_BEFORE_ALL_IS_READ = """
query ($kind: CorrelationKind = LOG) {
  incidentByNumber(number: 1) {
    timeline { nodes { actor { teams { members { teams { name } } } } } }
    wrong: correlations(kind: [$kind]) { totalCount }
    services { dependencies { dependsOn { name } } }
  }
}
"""


async def test_an_answer_that_is_ready_before_all_of_its_fields_leaves_nothing_behind(client: Client):
    answers = await asyncio.gather(*(client.ask(FAILS_BEFORE_ALL_IS_READ, {"kind": None}) for _ in range(40)))
    for answer in answers:
        assert answer["data"] == {"incidentByNumber": None}
        assert [error["path"] for error in answer["errors"]] == [["incidentByNumber", "wrong"]]
    await until(lambda: client.database.reads.in_use == 0)
    again = await asyncio.gather(*(client.ask("{ incidents { totalCount } }") for _ in range(40)))
    assert again == [{"data": {"incidents": {"totalCount": 9}}}] * 40


async def test_closing_a_snapshot_stops_what_it_still_reads(awkward: Database):
    async with Snapshot(awkward) as snapshot:
        await snapshot.fetch_text("select 'begun'", [], timeout_seconds=10)
        reading = asyncio.create_task(snapshot.fetch_text("select pg_sleep(20)::text", [], timeout_seconds=30))
        waiting = asyncio.create_task(snapshot.fetch_text("select 'too late'", [], timeout_seconds=30))
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(reading, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, RuntimeError]
    await until(lambda: awkward.reads.in_use == 0)
