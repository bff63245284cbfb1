"""SLOs that run in a real Prometheus, taken over with one mutation."""

from dataclasses import replace

import orjson

from domain.objectives import RatioIndicator
from domain.time import Deadline
from engines.slo.formats.reader import read
from engines.slo.rules.files import RuleDialect, rule_file
from resolvers.context import RequestContext
from resolvers.operations import OperationRequest
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from tests.schema.test_slo_imports import SLOTH
from tests.telemetry_clients.prometheus_server import running_prometheus

ADOPT = """mutation($dryRun: Boolean!) { adoptSlos(dryRun: $dryRun) {
  written outcomes { kind service name slo { objective } } notices { message } errors { message } } }"""


async def test_what_runs_in_prometheus_is_adopted_once(api, operations, tmp_path):
    definitions = read(SLOTH).definitions
    pyrra = replace(definitions[0], name="pyrra", indicator=RatioIndicator(bad="e_total", total="t_total"))
    rules = rule_file(definitions).text + rule_file([pyrra], dialect=RuleDialect.PYRRA).text.removeprefix("groups:\n")
    async with running_prometheus(tmp_path, rules=rules) as server:

        async def adopt(*, dry_run: bool) -> dict:
            context = RequestContext(
                database=api.database,
                actor=api.actor,
                deadline=Deadline.after(10),
                request_id="request-1",
                now=api.now,
                telemetry=Telemetry(Instances("Prometheus", {DEFAULT: server.client})),
            )
            request = OperationRequest(ADOPT, variables={"dryRun": dry_run})
            answer = await operations.execute(request, context, allowed={"mutation"})
            return orjson.loads(answer.body)["data"]["adoptSlos"]

        tried = await adopt(dry_run=True)
        assert (tried["written"], [one["kind"] for one in tried["outcomes"]]) == (False, ["CREATED"] * 2), tried
        done = await adopt(dry_run=False)
        assert done["written"], done
        assert [(one["service"], one["name"], one["slo"]) for one in done["outcomes"]] == [
            ("shop", "checkout", {"objective": 0.999}),
            ("pyrra", "pyrra", {"objective": 0.999}),
        ]
        again = await adopt(dry_run=False)
        assert [one["kind"] for one in again["outcomes"]] == ["UNCHANGED"] * 2
