"""Files and objects of Sloth."""

from decimal import Decimal
from textwrap import dedent

from domain.objectives import (
    Alerting,
    AlertMessage,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
)
from engines.slo.formats.reader import SpecificationFormat, read

DAY = 86_400
FILE = dedent("""\
    version: "prometheus/v1"
    service: "api"
    labels: {owner: team-a, tier: 2}
    slos:
      - name: "requests"
        objective: 99.95
        description: "Requests work."
        labels: {tier: one, critical: true}
        sli:
          events:
            error_query: |
              sum(rate(requests_total{code=~"(5..|429)"}[{{.window}}]))
            total_query: sum(rate(requests_total[{{- .window -}}]))
        alerting:
          name: ApiFails
          labels: {category: availability}
          annotations: {runbook: "https://wiki.example.org/api"}
          page_alert: {labels: {severity: pageteam}}
          ticket_alert: {disable: true}
      - name: batch
        objective: 90
        sli: {raw: {error_ratio_query: "1 - avg_over_time(batch_ok[{{.window}}])"}}
        alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
    """)
OBJECT = dedent("""\
    apiVersion: sloth.slok.dev/v1
    kind: PrometheusServiceLevel
    metadata: {name: api, namespace: monitoring, labels: {prometheus: k8s}}
    spec:
      service: api
      slos:
        - name: requests
          objective: 99.9
          sli:
            events:
              errorQuery: sum(rate(errors_total[{{.window}}]))
              totalQuery: sum(rate(requests_total[{{.window}}]))
          alerting: {name: ApiFails, pageAlert: {labels: {severity: critical}}, ticketAlert: {disable: true}}
    """)


def test_a_file_says_all_that_it_says():
    found = read(FILE)
    assert (found.problems, found.notices) == ((), ())
    requests, batch = found.definitions
    assert requests == ObjectiveDefinition(
        service="api",
        name="requests",
        description="Requests work.",
        objective=Decimal("0.9995"),
        window=RollingWindow(30 * DAY),
        indicator=RatioIndicator(
            bad='sum(rate(requests_total{code=~"(5..|429)"}[$window]))', total="sum(rate(requests_total[$window]))"
        ),
        alerting=Alerting(
            name="ApiFails",
            labels={"category": "availability"},
            annotations={"runbook": "https://wiki.example.org/api"},
            page=AlertMessage(labels={"severity": "pageteam"}),
            ticket=AlertMessage(is_enabled=False),
        ),
        labels={"owner": "team-a", "tier": "one", "critical": "true"},
    )
    assert batch.indicator == RawRatioIndicator("1 - avg_over_time(batch_ok[$window])")
    assert (batch.objective, batch.alerting.page.is_enabled) == (Decimal("0.9"), False)
    assert [read.line for read in found.objectives] == [5, 20]


def test_an_object_says_the_same_in_its_own_spelling():
    [definition] = read(OBJECT, SpecificationFormat.SLOTH).definitions
    assert definition.indicator == RatioIndicator(
        bad="sum(rate(errors_total[$window]))", total="sum(rate(requests_total[$window]))"
    )
    assert definition.alerting.page.labels == {"severity": "critical"}
    assert definition.labels == {}


def test_a_list_of_kubernetes_and_several_documents_are_read_whole():
    items = dedent("""\
        apiVersion: v1
        kind: List
        items:
        """) + "".join(f"  {'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(OBJECT.splitlines()))
    assert [one.name for one in read(items + "---\n" + FILE.replace("api", "web")).definitions] == [
        "requests",
        "requests",
        "batch",
    ]


def test_the_period_is_given_beside_the_file_or_by_its_alert_windows():
    assert read(FILE, period_seconds=28 * DAY).definitions[0].window == RollingWindow(28 * DAY)
    windows = dedent("""\
        apiVersion: sloth.slok.dev/v1
        kind: AlertWindows
        spec:
          sloPeriod: 7d
          page:
            quick: {errorBudgetPercent: 8, shortWindow: 5m, longWindow: 1h}
            slow: {errorBudgetPercent: 12.5, shortWindow: 30m, longWindow: 6h}
          ticket:
            quick: {errorBudgetPercent: 20, shortWindow: 2h, longWindow: 1d}
            slow: {errorBudgetPercent: 42, shortWindow: 6h, longWindow: 3d}
        """)
    definition = read(f"{windows}---\n{FILE}").definitions[0]
    assert definition.window == RollingWindow(7 * DAY)
    assert [(pair.name, pair.long_window_seconds, pair.factor) for pair in definition.alerting.burn_rates] == [
        ("page-quick", 3_600, Decimal("13.44")),
        ("page-slow", 21_600, Decimal("3.5")),
        ("ticket-quick", DAY, Decimal("1.4")),
        ("ticket-slow", 3 * DAY, Decimal("0.98")),
    ]


def test_every_mistake_is_named_at_its_place():
    text = dedent("""\
        version: prometheus/v1
        service: api
        slos:
          - name: whole
            objective: 99
            sli: {events: {error_query: 'rate(e[{{.window}}])', total_query: 'rate(t[{{.window}}])'}}
          - name: plugged
            objective: 100
            sli: {plugin: {id: company/availability, options: {x: y}}}
          - name: wrong
            objective: "99"
            descripton: typo
            sli:
              events: {error_query: 'rate(e[5m])', total_query: 'rate(e[{{.window}}]'}
              raw: {error_ratio_query: x}
          - name: whole
            objective: 99
            sli: {events: {error_query: 'rate(e[{{.window}}])', total_query: 'rate(t[{{.window}}])'}}
        """)
    found = read(text)
    assert [one.name for one in found.definitions] == ["whole"]
    assert [(problem.line, problem.path) for problem in found.problems] == [
        (8, "slos[1].objective"),
        (9, "slos[1].sli.plugin"),
        (11, "slos[2].objective"),
        (12, "slos[2].descripton"),
        (15, "slos[2].sli.raw"),
        (16, "slos[3]"),
    ] or [problem.path for problem in found.problems]
    words = " / ".join(problem.message for problem in found.problems)
    assert 'did you mean "description"?' in words
    assert '"company/availability"' in words
    assert "only one of events, raw, plugin" in words
    assert "is there already, in document 1, line 4" in words


def test_an_alert_that_can_never_fire_is_said():
    found = read(OBJECT.replace("99.9", "90"))
    assert found.problems == ()
    assert 'The alert "page-1h" can never fire' in found.notices[0].message


def test_plugins_of_sloth_itself_are_left_out_and_others_are_refused():
    chain = "slo_plugins: {chain: [{id: sloth.dev/contrib/info_labels/v1}, {id: company/own}]}\n"
    found = read(FILE.replace("slos:\n", f"{chain}slos:\n"))
    assert "info_labels" in found.notices[0].message
    assert '"company/own" is not run here' in found.problems[0].message
    assert found.definitions == ()
