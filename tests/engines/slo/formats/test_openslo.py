"""OpenSLO, v1 and v1alpha."""

from datetime import date
from decimal import Decimal
from textwrap import dedent, indent

import pytest

from domain.objectives import (
    Alerting,
    Budgeting,
    BurnRateAlert,
    CalendarUnit,
    CalendarWindow,
    Comparison,
    Composite,
    CompositeRule,
    Member,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
    ThresholdIndicator,
)
from domain.slos import BudgetingMethod, BurnResponse
from engines.slo.formats import openslo_writer
from engines.slo.formats.reader import read

DAY = 86_400
RATIO = """\
ratioMetric:
  counter: true
  bad: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(e[{{.window}}]))'}}}
  total: {metricSource: {type: prometheus, spec: {query: 'sum(rate(t[{{.window}}]))'}}}
"""


def slo(
    sli: str = RATIO,
    *,
    window: str = "{duration: 30d, isRolling: true}",
    method: str = "Occurrences",
    objectives: str = "[{target: 0.99}]",
    more: str = "",
) -> str:
    return (
        "apiVersion: openslo/v1\nkind: SLO\n"
        "metadata:\n  name: found\n  displayName: Found\n  labels: {team: [search, web], tier: one}\n"
        "  annotations: {example.org/page: https://example.org}\n"
        "spec:\n  description: Something is found.\n  service: search\n"
        f"  indicator:\n    metadata: {{name: answers}}\n    spec:\n{indent(dedent(sli).rstrip(), '      ')}\n"
        f"  timeWindow: [{window}]\n  budgetingMethod: {method}\n  objectives: {objectives}\n{more}"
    )


def test_an_slo_says_all_that_it_says():
    found = read(slo())
    assert (found.problems, found.notices) == ((), ())
    [definition] = found.definitions
    assert (definition.service, definition.name, definition.display_name) == ("search", "found", "Found")
    assert (definition.description, definition.objective) == ("Something is found.", Decimal("0.99"))
    assert definition.labels == {"team": "search,web", "tier": "one"}
    assert definition.annotations == {"example.org/page": "https://example.org"}
    assert definition.indicator == RatioIndicator(bad="sum(rate(e[$window]))", total="sum(rate(t[$window]))")
    assert (definition.budgeting, definition.alerting) == (Budgeting(), Alerting())


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("{duration: 4w, isRolling: true}", RollingWindow(28 * DAY)),
        ("{duration: 12h}", RollingWindow(12 * 3_600)),
        ("{duration: 1Q, isRolling: true}", RollingWindow(90 * DAY)),
        ("{duration: 90m, isRolling: true}", RollingWindow(5_400)),
        (
            "{duration: 1M, calendar: {startTime: 2026-01-01 00:00:00, timeZone: America/New_York}}",
            CalendarWindow(CalendarUnit.MONTH, 1, "America/New_York", date(2026, 1, 1)),
        ),
        (
            "{duration: 2w, isRolling: false, calendar: {startTime: '2026-01-05 12:00:00', timeZone: UTC}}",
            CalendarWindow(CalendarUnit.WEEK, 2, "UTC", date(2026, 1, 5)),
        ),
        (
            "{duration: 1Y, calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}}",
            CalendarWindow(CalendarUnit.YEAR, 1, "UTC", date(2026, 1, 1)),
        ),
    ],
)
def test_windows_roll_or_follow_a_calendar(window: str, expected: object):
    [definition] = read(slo(window=window)).definitions
    assert definition.window == expected


@pytest.mark.parametrize(
    ("method", "objective", "budgeting"),
    [
        (
            "Timeslices",
            "[{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 5m}]",
            Budgeting(BudgetingMethod.TIMESLICES, 300, Decimal("0.95")),
        ),
        (
            "Timeslices",
            "[{targetPercent: 99, timeSliceTarget: 1, timeSliceWindow: 1}]",
            Budgeting(BudgetingMethod.TIMESLICES, 60, Decimal(1)),
        ),
        (
            "RatioTimeslices",
            "[{target: 0.99, timeSliceWindow: 1h}]",
            Budgeting(BudgetingMethod.RATIO_TIMESLICES, 3_600),
        ),
    ],
)
def test_budgets_are_counted_in_slices(method: str, objective: str, budgeting: Budgeting):
    [definition] = read(slo(method=method, objectives=objective)).definitions
    assert (definition.budgeting, definition.objective) == (budgeting, Decimal("0.99"))


def source(query: str) -> str:
    return f"{{metricSource: {{type: Prometheus, spec: {{query: '{query}'}}}}}}"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (
            f"{{counter: false, good: {source('ok')}, total: {source('all')}}}",
            RatioIndicator(good="ok", total="all", is_gauge=True),
        ),
        (
            f"{{rawType: success, raw: {source('ok_ratio')}}}",
            RawRatioIndicator("avg_over_time(ok_ratio[$window])", is_good=True),
        ),
        (
            f"{{rawType: failure, raw: {source('sum(rate(e[5m]))/sum(rate(t[5m]))')}}}",
            RawRatioIndicator("sum(rate(e[$window]))/sum(rate(t[$window]))"),
        ),
    ],
)
def test_other_metrics_are_read(metric: str, expected: object):
    [definition] = read(slo(f"ratioMetric: {metric}")).definitions
    assert definition.indicator == expected


def test_slos_of_different_services_may_have_one_name():
    found = read(f"{slo()}---\n{slo().replace('service: search', 'service: shop')}")
    assert [(one.service, one.name) for one in found.definitions] == [("search", "found"), ("shop", "found")]
    assert read(openslo_writer.text(found.definitions)).definitions == found.definitions
    [twice] = read(f"{slo()}---\n{slo()}").problems
    assert twice.message == '"found" of service "search" is there already, in document 1, line 1'


def test_several_objectives_are_one_definition_each():
    metric = "thresholdMetric: {metricSource: {spec: {query: 'latency_seconds'}}}"
    objectives = (
        "[{displayName: Fast Enough, op: lte, value: 0.5, target: 0.9},"
        " {op: lt, value: 2, target: 0.999}, {op: gte, value: 3.0, target: 0.999}]"
    )
    fast, second, third = read(slo(metric, objectives=objectives)).definitions
    assert (fast.name, fast.display_name) == ("found-fast-enough", "Found: Fast Enough")
    assert fast.indicator == ThresholdIndicator("latency_seconds", Comparison.LESS_OR_EQUAL, Decimal("0.5"))
    assert (second.name, third.name) == ("found-2", "found-3")
    assert third.indicator == ThresholdIndicator("latency_seconds", Comparison.GREATER_OR_EQUAL, Decimal(3))


def test_objectives_with_indicators_of_their_own_are_a_composite():
    part = "indicator: {metadata: {name: NAME}, spec: {thresholdMetric: {metricSource: {spec: {query: NAME}}}}}"
    one, two = (part.replace("NAME", name) for name in ("cpu", "memory"))
    text = slo().replace(slo()[slo().index("  indicator:") : slo().index("  timeWindow:")], "")
    objectives = (
        f"[{{op: lt, value: 1, target: 0.9, {one}}}, {{op: lt, value: 1, target: 0.99, compositeWeight: 2, {two}}}]"
    )
    *members, composite = read(text.replace("[{target: 0.99}]", objectives)).definitions
    assert [member.name for member in members] == ["found-cpu", "found-memory"]
    assert composite.indicator == Composite(
        CompositeRule.WEIGHTED, (Member("search", "found-cpu"), Member("search", "found-memory", Decimal(2)))
    )
    assert (composite.name, composite.objective) == ("found", Decimal("0.96"))


POLICIES = dedent("""\
      alertPolicies:
        - alertPolicyRef: fast
        - kind: AlertPolicy
          metadata: {name: slow}
          spec:
            alertWhenBreaching: true
            conditions:
              - kind: AlertCondition
                metadata: {name: slow-burn}
                spec:
                  severity: ticket
                  condition: {kind: burnrate, op: gte, threshold: 1.5, lookbackWindow: 3d}
            notificationTargets: [{targetRef: mail}]
    ---
    apiVersion: openslo/v1
    kind: AlertPolicy
    metadata: {name: fast}
    spec:
      alertWhenBreaching: true
      conditions: [{conditionRef: fast-burn}]
      notificationTargets: [{targetRef: mail}]
    ---
    apiVersion: openslo/v1
    kind: AlertCondition
    metadata: {name: fast-burn}
    spec:
      severity: page
      condition: {kind: burnrate, op: lte, threshold: 14.4, lookbackWindow: 1h, alertAfter: 5m}
    ---
    apiVersion: openslo/v1
    kind: AlertNotificationTarget
    metadata: {name: mail}
    spec: {target: email}
    """).replace("  alertPolicies", "  alertPolicies")


def test_alert_policies_are_pairs_of_windows():
    found = read(slo(more="".join(f"{line}\n" for line in POLICIES.splitlines())))
    assert found.problems == ()
    assert found.definitions[0].alerting.burn_rates == (
        BurnRateAlert("fast", BurnResponse.PAGE, 3_600, 300, Decimal("14.4")),
        BurnRateAlert("slow", BurnResponse.TICKET, 3 * DAY, 3 * DAY, Decimal("1.5")),
    )
    assert any("alertAfter" in notice.path for notice in found.notices)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (slo(objectives="[{target: 1.0}]"), "an objective of 100"),
        (slo(objectives="[{target: 99.9}]"), "must be above 0 and below 1, not 99.9: 99.9 % is 0.999"),
        (slo(objectives="[{target: 0.9, targetPercent: 90}]"), "only one of target, targetPercent"),
        (slo(objectives="[]"), "at least one objective is required"),
        (slo(method="Sometimes"), "must be one of Occurrences, Timeslices, RatioTimeslices"),
        (slo(method="Timeslices", objectives="[{target: 0.9, timeSliceWindow: 5m}]"), "timeSliceTarget is required"),
        (slo(window="{duration: 30}"), "must be a number and one of m h d w M Q Y"),
        (slo(window="{duration: 30D, isRolling: true}"), "must be a number and one of m h d w M Q Y"),
        (slo(window="{duration: 1M, isRolling: false}"), "a window that is not rolling needs a calendar"),
        (
            slo(window="{duration: 1m, calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}}"),
            "1M is a month, 1m a minute",
        ),
        (
            slo(window="{duration: 1M, calendar: {startTime: 2026-01-01 00:00:00, timeZone: Mars/Base}}"),
            '"Mars/Base" is no time zone',
        ),
        (slo(RATIO.replace("type: Prometheus", "type: Datadog")), 'metrics of "Datadog" are not supported'),
        (slo(RATIO.replace("sum(rate(e", "sum(rate(e[")), "is not PromQL"),
        (slo(RATIO.replace("(e[", "(t[")), "is the same query as for all events"),
        (slo(more="  alertPolicies: [{alertPolicyRef: nowhere}]\n"), 'there is no AlertPolicy "nowhere" in this text'),
        (slo(more="  indicatorRef: nowhere\n"), "only one of indicator, indicatorRef can be given"),
        (slo("thresholdMetric: {metricSource: {spec: {query: x}}}"), "value is required"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str):
    found = read(text)
    assert found.definitions == ()
    assert message in " / ".join(problem.message for problem in found.problems)


ALPHA = dedent("""\
    apiVersion: openslo/v1alpha
    kind: SLO
    metadata: {name: requests, displayName: Requests}
    spec:
      service: api
      budgetingMethod: Occurrences
      timeWindows: [{count: 1, unit: Month, calendar: {startTime: 2026-05-01 00:00:00, timeZone: UTC}}]
      objectives:
        - displayName: Good
          target: 0.98
          ratioMetrics:
            incremental: true
            good: {source: prometheus, queryType: promql, query: 'ok_total{job="api"}'}
            total: {source: prometheus, queryType: promql, query: 'all_total{job="api"}'}
    """)


def test_v1alpha_carries_metrics_in_its_objectives():
    [definition] = read(ALPHA).definitions
    assert (definition.name, definition.objective) == ("requests", Decimal("0.98"))
    assert definition.indicator == RatioIndicator(good='ok_total{job="api"}', total='all_total{job="api"}')
    assert definition.window == CalendarWindow(CalendarUnit.MONTH, 1, "UTC", date(2026, 5, 1))
    rolling = ALPHA.replace(
        "count: 1, unit: Month, calendar: {startTime: 2026-05-01 00:00:00, timeZone: UTC}",
        "count: 28, unit: Day, isRolling: true",
    )
    assert read(rolling).definitions[0].window == RollingWindow(28 * DAY)
    assert 'metrics of "datadog"' in read(ALPHA.replace("prometheus", "datadog")).problems[0].message
