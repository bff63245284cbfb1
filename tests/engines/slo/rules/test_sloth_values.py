"""What the generated rules record, against what the events say."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from domain.objectives import (
    Alerting,
    AvailabilityIndicator,
    Budgeting,
    Comparison,
    LatencyIndicator,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
    ThresholdIndicator,
)
from domain.slos import BudgetingMethod
from engines.slo.rules import sloth
from tests.engines.slo.rules.promtool import Case, Counter, needs_promtool, run

pytestmark = needs_promtool

HOUR = 60
SHOP = ObjectiveDefinition(
    service="shop",
    name="checkout",
    objective=Decimal("0.99"),
    indicator=RatioIndicator(
        bad='sum(rate(requests_total{code="500"}[$window]))', total="sum(rate(requests_total[$window]))"
    ),
)
PERIOD = "slo:sli_error:ratio_rate30d"
REMAINING = "slo:period_error_budget_remaining:ratio"


def served(errors: list[int], total: list[int], *, late: bool = False) -> list[Counter]:
    first = next((step for step, bad in enumerate(errors) if bad), 0)
    return [
        Counter('requests_total{code="500"}', errors, starts_at=first if late else 0),
        Counter('requests_total{code="200"}', [all - bad for all, bad in zip(total, errors, strict=True)]),
    ]


def test_the_period_weighs_by_events(tmp_path: Path):
    # Sixteen busy hours without an error, four quiet ones at a hundredth of the traffic, in which a tenth fails, and an
    # hour without any traffic: the mean of five-minute ratios would say that the budget is spent twice over.
    hour = 15  # in steps of four minutes
    errors = [*[0] * (16 * hour), *[4] * (4 * hour), *[0] * hour]
    total = [*[4_000] * (16 * hour), *[40] * (4 * hour), *[0] * hour]
    night = Case("a quiet night", served(errors, total), step_seconds=240)
    last = len(total) - 1
    ratio = Fraction(sum(errors[1:]), sum(total[1:]))
    night.expect_close(PERIOD, last, ratio, 1e-6)
    night.expect_close(REMAINING, last, 1 - ratio * 100, 1e-4)
    night.expect_close("slo:current_burn_rate:ratio", 18 * hour, Fraction(10), 1e-6)
    night.expect_nothing("slo:current_burn_rate:ratio", last)
    night.expect_nothing("slo:sli_error:ratio_rate5m", last)

    late_errors, late_total = [*[0] * (9 * hour), *[2_000] * 5, *[0] * hour], [4_000] * (10 * hour + 5)
    late = Case("an error series that appears late", served(late_errors, late_total, late=True), step_seconds=240)
    last = len(late_total) - 1
    late.expect_close("slo:sli_error:ratio_rate5m", 8 * hour, 0, 0)
    # The first scrape of a new series has nothing to be compared with: a part of the first minutes is never seen.
    truth = Fraction(sum(late_errors), sum(late_total[1:]))
    late.expect_close(PERIOD, last, truth, float(truth) / 4)
    run(tmp_path, sloth.groups(SHOP), [night, late])


def test_the_metadata_says_what_was_promised(tmp_path: Path):
    told = Case("metadata", served([1] * 10, [100] * 10))
    for metric, value in (
        ("slo:objective:ratio", "0.99"),
        ("slo:error_budget:ratio", "0.01"),
        ("slo:time_period:days", "28"),
        ('sloth_slo_info{sloth_objective="99"}', "1"),
        ("slo:current_burn_rate:ratio", "1"),
        ('slo:sli_error:ratio_rate4w{sloth_window="4w"}', "0.01"),
        ("slo:period_burn_rate:ratio", "1"),
        (REMAINING, "0"),
    ):
        told.expect_close(metric, 9, Fraction(value), 1e-12)
    four_weeks = replace(SHOP, window=RollingWindow(28 * 86_400))
    run(tmp_path, sloth.groups(four_weeks), [told])


def test_each_group_has_a_budget_and_alerts_of_its_own(tmp_path: Path):
    grouped = replace(
        SHOP,
        indicator=RatioIndicator(bad='requests_total{code="500"}', total="requests_total"),
        group_by=("team",),
        labels={"team": "all of them"},
        alerting=Alerting(name="TeamFails"),
    )
    counters = [
        Counter('requests_total{code="500",team="a"}', [300] * HOUR),
        Counter('requests_total{code="200",team="a"}', [700] * HOUR),
        Counter('requests_total{code="200",team="b"}', [1_000] * HOUR),
    ]
    told = Case("two teams", counters)
    told.expect_close('slo:sli_error:ratio_rate1h{team="a"}', 50, Fraction(3, 10), 1e-9)
    told.expect_close('slo:sli_error:ratio_rate1h{team="b"}', 50, 0, 0)
    told.expect_close(REMAINING + '{team="a"}', 50, -29, 1e-6)
    told.expect_close(REMAINING + '{team="b"}', 50, 1, 1e-9)
    labels = {**sloth.id_labels(grouped), "team": "a"}
    told.expect_alert("TeamFails", 50, {"page", "ticket"}, labels=labels, severity="sloth_severity")
    run(tmp_path, sloth.groups(grouped), [told])


def test_slices_are_counted_instead_of_events_where_the_objective_says_so(tmp_path: Path):
    # Of twelve slices of five minutes two are bad: one has a tenth of errors, one is all errors with little traffic.
    # One more just meets its objective.
    errors, total = [0] * 61, [1_000] * 61
    errors[11:16] = [100] * 5
    errors[31:36], total[31:36] = [10] * 5, [10] * 5
    errors[41:46] = [50] * 5
    sliced = replace(
        SHOP,
        indicator=RatioIndicator(bad='requests_total{code="500"}', total="requests_total"),
        budgeting=Budgeting(BudgetingMethod.TIMESLICES, 300, Decimal("0.95")),
    )
    told = Case("bad slices", served(errors, total))
    told.expect_close("slo:sli_error:ratio_rate1h", 60, Fraction(2, 12), 1e-9)
    told.expect_close(PERIOD, 60, Fraction(2, 12), 1e-9)
    run(tmp_path, sloth.groups(sliced), [told])

    means = replace(sliced, budgeting=Budgeting(BudgetingMethod.RATIO_TIMESLICES, 300))
    told = Case("mean of slices", served(errors, total))
    told.expect_close("slo:sli_error:ratio_rate1h", 60, (Fraction(1, 10) + 1 + Fraction(1, 20)) / 12, 1e-9)
    run(tmp_path, sloth.groups(means), [told])


def test_windows_with_few_events_alert_nobody(tmp_path: Path):
    careful = replace(SHOP, alerting=Alerting(name="Careful", minimum_total_events=1_000, minimum_bad_events=100))
    few = Case("three of five events fail", served([3] * HOUR, [5] * HOUR))
    many = Case("three hundred of five hundred", served([300] * HOUR, [500] * HOUR))
    labels = sloth.id_labels(careful)
    few.expect_alert("Careful", 50, set(), labels=labels, severity="sloth_severity")
    many.expect_alert("Careful", 50, {"page", "ticket"}, labels=labels, severity="sloth_severity")
    run(tmp_path, sloth.groups(careful), [few, many])


def test_comments_and_ratios_that_round_below_zero_lose_nothing(tmp_path: Path):
    # One scrape of all requests is missing, so that for a while more of them were good than there were.
    counters = [
        Counter("requests_total", [None if step == 20 else 10 for step in range(31)]),
        Counter("ok_total", [11 if step == 20 else 10 for step in range(31)]),
        Counter("failed_total", [1] * 31),
    ]
    indicators = {
        "ratio": (RatioIndicator(bad="failed_total # all of them", total="requests_total # all"), Fraction(1, 10)),
        "raw": (RawRatioIndicator("1 - sum(rate(ok_total[$window])) / sum(rate(requests_total[$window])) # x"), 0),
        "up": (AvailabilityIndicator("requests_total * 0 # never"), Fraction(1)),
    }
    told, groups = Case("comments", counters), []
    for name, (indicator, ratio) in indicators.items():
        groups += sloth.groups(replace(SHOP, name=name, indicator=indicator))
        told.expect_close(f'slo:sli_error:ratio_rate5m{{sloth_slo="{name}"}}', 15, ratio, 1e-9)
    told.expect_close('slo:sli_error:ratio_rate5m{sloth_slo="raw"}', 22, 0, 1e-9)
    run(tmp_path, groups, [told])


def test_every_kind_of_indicator_is_recorded(tmp_path: Path):
    up = [1 if step % 3 else 0 for step in range(31)]
    counters = [
        Counter('request_seconds_bucket{le="0.5"}', [8] * 31),
        Counter('request_seconds_bucket{le="1.0"}', [9] * 31),
        Counter('request_seconds_bucket{le="+Inf"}', [10] * 31),
        Counter("request_seconds_count", [10] * 31),
        # A gauge is a counter that begins anew at every step.
        Counter("up_or_not", up, frozenset(range(31))),
        Counter("failed_ratio", up, frozenset(range(31))),
    ]
    seen = Fraction(sum(1 for value in up[26:31] if not value), 5)
    indicators = {
        "latency": (LatencyIndicator("request_seconds", Decimal(1)), Fraction(1, 10)),
        "raw": (RawRatioIndicator("avg_over_time(failed_ratio[4m])"), 1 - seen),
        "good": (RawRatioIndicator("avg_over_time(failed_ratio[4m])", is_good=True), seen),
        "threshold": (ThresholdIndicator("failed_ratio", Comparison.LESS, Decimal("0.5")), 1 - seen),
    }
    told, groups = Case("all kinds", counters), []
    for name, (indicator, ratio) in indicators.items():
        groups += sloth.groups(replace(SHOP, name=name, indicator=indicator))
        told.expect_close(f'slo:sli_error:ratio_rate5m{{sloth_slo="{name}"}}', 30, ratio, 1e-9)
    groups += sloth.groups(replace(SHOP, name="up", indicator=AvailabilityIndicator("up_or_not")))
    told.expect_close(f'{PERIOD}{{sloth_slo="up"}}', 30, Fraction(1, 3), 0.02)
    run(tmp_path, groups, [told])
