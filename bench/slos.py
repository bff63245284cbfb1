"""What ten thousand SLOs cost: `python -m bench.slos [--slos 10000] [--real]`.

The objectives all differ. Prometheus is a local process that answers in its shape, so that only our own CPU is counted;
`--real` adds a real one with raw series of two hours, and asks it our way and an SLO at a time.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import orjson
import uvloop
from sqlalchemy import text

from actions.slos.evaluation import SLOEvaluator
from actions.slos.records import columns_of
from db.database import Database
from db.embedded import EmbeddedPostgres
from db.identifiers import new_id
from domain.access import Actor, Role
from domain.objectives import ObjectiveDefinition, RatioIndicator
from domain.time import Deadline
from engines.slo.batches import Question, batches, query
from engines.slo.indicators import events
from migrations.upgrade import upgrade
from resolvers.context import RequestContext
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from telemetry_clients.instances import Instances
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport

SLICE = timedelta(minutes=5)
NOW = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 300 * 300, UTC)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
LIST = """{ slos(first: 100) { nodes { id name objective status coverage budgetExhaustsAt
  current { sli errorBudgetRemaining errorBudgetConsumed }
  burnRates { name longRate shortRate threshold breached } } } }"""
HISTORY = """query($id: ID!, $range: TimeRange!, $step: Int) { slo(id: $id) {
  history(range: $range, stepSeconds: $step) {
    measuredAt sli errorBudgetRemaining errorBudgetConsumed goodEvents totalEvents } } }"""
MANY_DAYS = """
insert into slo_slices (slo_id, group_key, day, slice_seconds, good, total)
select slos.id, '', day::date, 300,
    slices.good, slices.total
from slos, generate_series(date_trunc('day', cast(:now as timestamptz) - :days * interval '1 day', 'UTC'),
    cast(:now as timestamptz), interval '1 day') day,
    lateral (select
        array_agg(case when known then 1000 - n % 7 / 20.0 else 'NaN'::double precision end order by n),
        array_agg(case when known then 1000 else 'NaN'::double precision end order by n)
        from (select n, cast(:now as timestamptz) > day + n * interval '5 min' from generate_series(0, 287) n)
            slice(n, known)) slices(good, total)
where true
"""


def definition(number: int) -> ObjectiveDefinition:
    """One of many, unlike all others."""
    metric = f"requests_{number % 500}_total"
    labels = f'service="service-{number}",path="/{number % 13}"'
    return ObjectiveDefinition(
        service=f"service-{number % 300}",
        name=f"objective-{number}",
        objective=Decimal(("0.99", "0.995", "0.999", "0.9995")[number % 4]),
        indicator=RatioIndicator(bad=f'{metric}{{{labels},code=~"5.."}}', total=f"{metric}{{{labels}}}"),
    )


async def fill(url: str, count: int) -> list[UUID]:
    """Services, objectives, and what follows from them; return the ids of the objectives."""
    connection = await asyncpg.connect(url)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_text, decoder=orjson.loads)
    services = {f"service-{n}": new_id() for n in range(300)}
    rows = [(id, name, name, NOW, NOW) for name, id in services.items()]
    await connection.executemany(
        "insert into services (id, name, display_name, created_at, updated_at) values ($1, $2, $3, $4, $5)", rows
    )
    ids = []
    values = []
    for number in range(count):
        made = definition(number)
        columns = {"id": new_id(), "service_id": services[made.service], "created_at": NOW, "updated_at": NOW}
        columns |= columns_of(made)
        ids.append(columns["id"])
        values.append(tuple(columns.values()))
    names_of = ", ".join(columns)
    places = ", ".join(f"${n + 1}" for n in range(len(columns)))
    await connection.executemany(f"insert into slos ({names_of}) values ({places})", values)
    await connection.close()
    return ids


def _text(value: object) -> str:
    return orjson.dumps(value).decode()


@asynccontextmanager
async def stand_in() -> AsyncIterator[str]:
    """A process that answers whatever it is asked for, in Prometheus' shape."""
    process = subprocess.Popen(  # noqa: ASYNC220  # it only starts
        [sys.executable, "-m", "bench.prometheus_stand_in"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def evaluator_of(database: Database, prometheus: Prometheus) -> SLOEvaluator:
    """An evaluator that reads a slice at its very end."""
    return SLOEvaluator(database, Instances("Prometheus", {"default": prometheus}), scrape_interval_seconds=0)


async def timed(work: Callable[[], Awaitable[object]], times: int = 1) -> tuple[float, float, object]:
    """The least seconds of wall clock and of our CPU that some work took, and its result."""
    best: tuple[float, float, object] = (float("inf"), float("inf"), None)
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        result = await work()
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu, result), key=lambda one: one[1])
    return best


def told(what: str, wall: float, cpu: float, target: str, more: str = "") -> None:
    """One line of the report."""
    print(f"{what:58}{cpu * 1e3:10,.0f} ms CPU{wall * 1e3:10,.0f} ms{target:>16}  {more}", flush=True)


async def cycles(database: Database, prometheus: Prometheus, count: int) -> None:
    """Evaluations of all objectives: the first with all of memory empty, then one slice after the other."""
    async with database.writing(NOW) as tx:
        await tx.execute(text(MANY_DAYS), {"now": NOW, "days": 31})
        await tx.execute(
            text(
                "insert into slo_states (slo_id, status, measured_at, error_budget_remaining, error_budget_consumed,"
                " coverage, evaluated_through) select id, 'HEALTHY', :now, 1, 0, 1, :now from slos"
            ),
            {"now": NOW},
        )
    evaluator = evaluator_of(database, prometheus)
    wall, cpu, _ = await timed(lambda: evaluator.cycle(NOW, Deadline.after(600)))
    told(f"a month of {count:,} SLOs taken into memory", wall, cpu, "", "once, at the start")
    best = (float("inf"), float("inf"), 0)
    for number in range(1, 4):
        now = NOW + number * SLICE
        wall, cpu, cycle = await timed(lambda now=now: evaluator.cycle(now, Deadline.after(600)))
        assert cycle.evaluated == count, cycle
        best = min(best, (cpu, wall, cycle.queries))
    cpu, wall, queries = best
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told(f"a cycle of {count:,} unlike SLOs", wall, cpu, "6,000 ms", f"{queries} queries (at most 100)")
    print(f"{'most memory of this process':58}{memory:10,.0f} MB{'':14}{'400 MB':>16}", flush=True)


async def recorded(database: Database, prometheus: Prometheus, count: int) -> None:
    """The same objectives, whose ratios rules have recorded."""
    ratio = "'slo:sli_error:ratio_rate5m{sloth_id=\"' || name || '\"}'"
    async with database.writing(NOW) as tx:
        await tx.execute(
            text(
                "update slos set revision = revision + 1, indicator_kind = 'RAW_RATIO', indicator ="
                f" jsonb_build_object('kind', 'RAW_RATIO', 'is_good', false, 'ratio', {ratio})"
            )
        )
    evaluator = evaluator_of(database, prometheus)
    await evaluator.cycle(NOW + 3 * SLICE, Deadline.after(600))
    wall, cpu, cycle = await timed(lambda: evaluator.cycle(NOW + 4 * SLICE, Deadline.after(600)))
    assert cycle.evaluated == count, cycle
    told(f"a cycle of {count:,} SLOs on recorded rules", wall, cpu, "3,000 ms", f"{cycle.queries} queries")


async def single(database: Database, prometheus: Prometheus) -> None:
    """What one client waits for."""
    operations = Operations(build_schema())

    async def ask(document: str, **variables: object) -> dict[str, object]:
        context = RequestContext(
            database=database,
            actor=Actor(id=None, name="bench", role=Role.ADMIN),
            deadline=Deadline.after(60),
            request_id="bench",
            now=NOW + 4 * SLICE,
        )
        request = OperationRequest(document, variables=variables)
        answer = orjson.loads((await operations.execute(request, context, allowed={"query"})).body)
        assert "errors" not in answer, answer
        return answer["data"]

    wall, cpu, _ = await timed(lambda: ask(LIST), times=20)
    told("a list of 100 SLOs with budgets and burn rates", wall, cpu, "25 ms")
    async with database.writing(NOW) as tx:
        id = (await tx.execute(text("select id from slos limit 1"))).scalar_one()
        await tx.execute(text("delete from slo_slices where slo_id = :id"), {"id": id})
        await tx.execute(text(MANY_DAYS + " and slos.id = :id"), {"now": NOW, "days": 125, "id": id})
    range_ = {"from": (NOW - timedelta(days=90)).isoformat(), "to": NOW.isoformat()}
    wall, cpu, data = await timed(lambda: ask(HISTORY, id=str(id), range=range_, step=90 * 86_400 // 500), times=10)
    told("90 days of history at 500 points", wall, cpu, "30 ms", f"{len(data['slo']['history'])} points")
    async with database.writing(NOW) as tx:
        await tx.execute(text("delete from slo_slices where slo_id = :id"), {"id": id})
        await tx.execute(text("delete from slo_states where slo_id = :id"), {"id": id})
    instances = Instances("Prometheus", {"default": prometheus})
    fresh = SLOEvaluator(database, instances, scrape_interval_seconds=0, only=[id])
    wall, cpu, cycle = await timed(lambda: fresh.cycle(NOW, Deadline.after(60)))
    told("30 days of one new SLO", wall, cpu, "150 ms", f"{cycle.queries} query")


async def naively(folder: Path) -> None:
    """Our queries and an SLO at a time, against a real Prometheus with raw series of two hours."""
    count, hours, step = 200, 2, 15
    start = int((NOW - timedelta(hours=hours)).timestamp())
    times = range(start, int(NOW.timestamp()) + 1, step)
    lines = []
    for number in range(count):
        lines.append(f"# TYPE bench_{number} counter\n")
        for code, rate in (("200", 10), ("500", 1)):
            for instance in "abc":
                lines += [
                    f'bench_{number}_total{{code="{code}",instance="{instance}",job="x"}} {n * rate} {at}\n'
                    for n, at in enumerate(times)
                ]
    from tests.telemetry_clients.prometheus_server import running_prometheus

    async with running_prometheus(folder, history="".join([*lines, "# EOF\n"])) as server:
        client = server.client
        questions = [
            Question(n, events(RatioIndicator(bad=f'bench_{n}_total{{code="500"}}', total=f"bench_{n}_total"), 300))
            for n in range(count)
        ]

        async def ours() -> None:
            for batch in batches(questions):
                await client.query(query(batch), at=NOW, deadline=Deadline.after(60))

        async def one_at_a_time() -> None:
            for n in range(20):
                for window in WINDOWS:
                    ratio = f'sum(rate(bench_{n}_total{{code="500"}}[{window}])) / sum(rate(bench_{n}_total[{window}]))'
                    await client.query(ratio, at=NOW, deadline=Deadline.after(60))

        await ours()
        wall, cpu, _ = await timed(ours, times=5)
        naive_wall, naive_cpu, _ = await timed(one_at_a_time)
        told(f"real Prometheus: {count} SLOs, ours", wall, cpu, "", f"{wall / count * 1e3:.2f} ms an SLO")
        naive = naive_wall / 20
        told(
            "real Prometheus: 20 SLOs, 8 windows each, one by one",
            naive_wall,
            naive_cpu,
            "",
            f"{naive * 1e3:.1f} ms an SLO",
        )
        print(f"{'naive evaluation takes so many times longer an SLO':58}{naive / (wall / count):10.0f}", flush=True)


async def measure(count: int, *, real: bool) -> None:
    """Everything, on a Postgres made for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # noqa: S103  # the account of the embedded Postgres has to enter it
        async with EmbeddedPostgres(folder / "postgres", settings={"fsync": "off"}) as postgres, stand_in() as url:
            await upgrade(postgres.url)
            await fill(postgres.url, count)
            database = await Database.connect(postgres.url, statement_timeout_seconds=600)
            async with Transport(Endpoint(backend="Prometheus", url=url)) as transport:
                prometheus = Prometheus(transport)
                print(f"{'':58}{'ours':>14}{'wall clock':>13}{'target':>16}")
                await cycles(database, prometheus, count)
                await recorded(database, prometheus, count)
                await single(database, prometheus)
            await database.close()
        if real:
            (folder / "prometheus").mkdir()
            await naively(folder / "prometheus")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slos", type=int, default=10_000)
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.slos, real=arguments.real))
