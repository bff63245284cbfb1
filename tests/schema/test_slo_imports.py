"""SLOs from the files of other tools, through GraphQL, and out again."""

import asyncio
import shutil
import subprocess
from dataclasses import replace
from textwrap import dedent

import pytest
import yaml

from domain.access import Role

OUTCOMES = (
    "written outcomes { kind service name reason line slo { name objective } differences { field before after } }"
)
REMARKS = "problems { message document line path } notices { message }"
SLOTH = dedent("""\
    version: prometheus/v1
    service: shop
    labels: {team: money}
    slos:
      - name: checkout
        objective: 99.9
        description: Paying works.
        sli:
          events:
            error_query: sum(rate(requests_total{code=~"5.."}[{{.window}}]))
            total_query: sum(rate(requests_total[{{.window}}]))
        alerting:
          name: CheckoutFails
          page_alert: {labels: {severity: critical}}
          ticket_alert: {disable: true}
    """)
OPENSLO = dedent("""\
    apiVersion: openslo/v1
    kind: Service
    metadata: {name: search, displayName: Search}
    spec: {description: Finds things.}
    ---
    apiVersion: openslo/v1
    kind: SLO
    metadata: {name: found}
    spec:
      service: search
      indicatorRef: answers
      timeWindow: [{duration: 4w, isRolling: true}]
      budgetingMethod: Occurrences
      objectives: [{target: 0.99}]
    ---
    apiVersion: openslo/v1
    kind: SLI
    metadata: {name: answers}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'sum(answers_total{code="200"})'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(answers_total)'}}}
    """)


async def imported(api, text: str, **options: object) -> dict:
    payload = await api.change("importSlos", f"{OUTCOMES} {REMARKS}", input={"text": text, **options})
    return dict(payload)


async def test_a_file_is_imported_once_and_then_left_alone(api):
    first = await imported(api, SLOTH)
    assert first["errors"] == []
    [outcome] = first["outcomes"]
    assert (outcome["kind"], outcome["service"], outcome["slo"]) == (
        "CREATED",
        "shop",
        {"name": "checkout", "objective": 0.999},
    )
    before = await api.written()
    again = await imported(api, SLOTH)
    assert [one["kind"] for one in again["outcomes"]] == ["UNCHANGED"]
    assert await api.written() == before


async def test_a_dry_run_says_the_difference_and_writes_nothing(api):
    new = await imported(api, SLOTH, dryRun=True)
    assert (new["written"], new["errors"], new["outcomes"][0]["kind"]) == (False, [], "CREATED")
    assert new["outcomes"][0]["slo"] is None
    await imported(api, SLOTH)
    before = await api.written()
    changed = await imported(api, SLOTH.replace("99.9", "99.5").replace("money", "shop"), dryRun=True)
    [outcome] = changed["outcomes"]
    assert outcome["kind"] == "UPDATED"
    assert outcome["differences"] == [
        {"field": "objective", "before": "0.999", "after": "0.995"},
        {"field": "labels", "before": {"team": "money"}, "after": {"team": "shop"}},
    ]
    assert await api.written() == before


async def test_what_is_wrong_is_named_at_its_place_and_nothing_is_half_imported(api):
    text = SLOTH + (
        "  - name: plugged\n"
        "    objective: 100\n"
        "    sli: {plugin: {id: company/availability}}\n"
        "    alerting: {name: Plugged}\n"
    )
    before = await api.written()
    refused = await imported(api, text)
    assert await api.written() == before
    assert refused["written"] is False
    assert [(one["line"], one["path"]) for one in refused["problems"]] == [
        (17, "slos[1].objective"),
        (18, "slos[1].sli.plugin"),
    ]
    assert [error["code"] for error in refused["errors"]] == ["BAD_USER_INPUT"] * 2
    assert [error["path"] for error in refused["errors"]] == [["input", "text"]] * 2
    assert "company/availability" in refused["errors"][1]["message"]


async def test_an_openslo_text_brings_its_services_along(api):
    payload = await api.change("importOpenSlo", f"{OUTCOMES} {REMARKS}", yaml=OPENSLO)
    assert payload["errors"] == []
    answer = await api('{ serviceByName(name: "search") { displayName description slos { name } } }')
    assert answer["data"]["serviceByName"] == {
        "displayName": "Search",
        "description": "Finds things.",
        "slos": [{"name": "found"}],
    }
    refused = await api.change("importOpenSlo", f"{OUTCOMES} {REMARKS}", yaml=SLOTH)
    assert "Openslo was expected" in refused["problems"][0]["message"]


async def test_what_was_imported_goes_out_as_openslo_and_comes_back_unchanged(api):
    await imported(api, SLOTH)
    await imported(api, OPENSLO)
    answer = await api("{ openSlo slos { nodes { openSlo } } }")
    again = await imported(api, answer["data"]["openSlo"])
    assert [one["kind"] for one in again["outcomes"]] == ["UNCHANGED", "UNCHANGED"], again
    each = [node["openSlo"] for node in answer["data"]["slos"]["nodes"]]
    assert "---\n".join(sorted(each)) == "---\n".join(sorted(answer["data"]["openSlo"].split("---\n")))


@pytest.mark.parametrize("field", ["openSlo", "prometheusRules"])
async def test_a_name_that_no_service_can_have_is_a_mistake_of_whoever_asks(api, field):
    [error] = (await api(f'{{ {field}(services: ["checkout", "\\u0000"]) }}'))["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_rules_are_given_for_one_slo_and_for_all(api, tmp_path):
    await imported(api, SLOTH)
    await imported(api, OPENSLO)
    answer = await api(
        """{ plain: prometheusRules(services: ["SHOP"]) object: prometheusRules(format: PROMETHEUS_RULE)
             pyrra: prometheusRules(dialect: PYRRA)
             slos { nodes { name prometheusRules prometheusRule: prometheusRules(format: PROMETHEUS_RULE) } } }"""
    )
    data = answer["data"]
    one = next(node for node in data["slos"]["nodes"] if node["name"] == "checkout")
    assert one["prometheusRules"] == data["plain"]
    assert yaml.safe_load(one["prometheusRule"])["metadata"]["name"] == "shop-checkout"
    assert len(yaml.safe_load(data["object"])["spec"]["groups"]) == 6
    assert data["pyrra"].startswith("# No rules for search/found: ")
    (tmp_path / "rules.yaml").write_text(data["plain"])
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yaml")]
    checked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert "SUCCESS: 18 rules found" in checked.stdout, checked.stdout + checked.stderr


async def test_a_viewer_imports_nothing(api):
    api.actor = replace(api.actor, role=Role.VIEWER)
    refused = await imported(api, SLOTH)
    assert [error["code"] for error in refused["errors"]] == ["FORBIDDEN"]
