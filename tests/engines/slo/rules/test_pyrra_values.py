"""What the rules under Pyrra's names record, against what the events say."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from domain.objectives import LatencyIndicator, ObjectiveDefinition, RatioIndicator, RollingWindow
from engines.slo.rules import pyrra
from tests.engines.slo.rules.promtool import Case, Counter, needs_promtool, run

pytestmark = needs_promtool

SHOP = ObjectiveDefinition(
    service="shop",
    name="checkout",
    objective=Decimal("0.99"),
    window=RollingWindow(14 * 86_400),
    indicator=LatencyIndicator('request_seconds{job="shop"}', Decimal(1)),
)


@pytest.mark.parametrize("bound", ["1", "1.0"])
def test_a_bound_is_found_however_its_label_says_it(tmp_path: Path, bound: str):
    told = Case(
        f"le={bound}",
        [
            Counter(f'request_seconds_bucket{{job="shop",le="{bound}"}}', [90] * 61),
            Counter('request_seconds_bucket{job="shop",le="+Inf"}', [100] * 61),
            Counter('request_seconds_count{job="shop"}', [100] * 61),
        ],
    )
    told.expect_close("pyrra_availability", 60, Fraction(9, 10), 1e-9)
    told.expect_close('request_seconds:increase2w{le="1"}', 60, Fraction(60 * 90), 1e-6)
    told.expect_close("request_seconds:burnrate30m", 60, Fraction(1, 10), 1e-9)
    told.expect_nothing('ALERTS{alertname="SLOMetricAbsent"}', 60)
    run(tmp_path, pyrra.groups(SHOP), [told])


def test_an_error_series_that_is_not_there_is_no_error(tmp_path: Path):
    ratio = RatioIndicator(bad='answers_total{code=~"5.."} # of the server', total="answers_total")
    told = Case("no errors", [Counter('answers_total{code="200"}', [10] * 61)])
    told.expect_close("pyrra_availability", 60, Fraction(1), 1e-9)
    told.expect_close("pyrra_errors:rate5m", 60, Fraction(0), 1e-9)
    told.expect_close("answers:burnrate1h", 60, Fraction(0), 1e-9)
    run(tmp_path, pyrra.groups(replace(SHOP, indicator=ratio)), [told])
