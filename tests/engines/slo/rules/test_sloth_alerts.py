"""When the alerts of the generated rules begin and end, against exact arithmetic over the same counters."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from domain.objectives import Alerting, AlertMessage, BurnRateAlert, ObjectiveDefinition, RatioIndicator, RollingWindow
from domain.slos import BurnResponse
from engines.slo.rules import sloth
from tests.engines.slo.rules.promtool import Case, Counter, Mathematics, needs_promtool, run

pytestmark = needs_promtool

HOUR = 60  # in steps of a minute
BUDGET = Fraction(1, 100)
PAIRS = {
    "page": [(3_600, 300, Fraction("14.4")), (21_600, 1_800, Fraction(6))],
    "ticket": [(86_400, 7_200, Fraction(3)), (259_200, 21_600, Fraction(1))],
}
CHECKOUT = ObjectiveDefinition(
    service="shop",
    name="checkout",
    objective=Decimal("0.99"),
    indicator=RatioIndicator(bad='requests_total{code="500"}', total="requests_total"),
    alerting=Alerting(name="CheckoutFails"),
)
LABELS = sloth.id_labels(CHECKOUT)


def served(
    errors: Sequence[int | None], total: Sequence[int | None], *, late: bool = False, **options: frozenset[int]
) -> list[Counter]:
    """The counters of one server: errors, and what went well. A late series of errors begins with the first."""
    good = [None if all is None else all - (bad or 0) for bad, all in zip(errors, total, strict=True)]
    first = next((step for step, bad in enumerate(errors) if bad), 0)
    return [
        Counter('requests_total{code="500"}', errors, starts_at=first if late else 0, **options),
        Counter('requests_total{code="200"}', good, **options),
    ]


def case(
    name: str,
    errors: Sequence[int | None],
    total: Sequence[int | None],
    *counters: Counter,
    step: int = 60,
    late: bool = False,
) -> Case:
    """A case whose alerts are expected exactly when both windows of a pair burn too fast."""
    told = Case(name, counters or served(errors, total, late=late), step)
    truth = Mathematics(errors, total, step)
    firing = {
        severity: truth.timeline(lambda at, pairs=pairs: truth.burns(at, pairs, BUDGET))
        for severity, pairs in PAIRS.items()
    }
    looked_at = {1, len(total) - 1}
    for changes in firing.values():
        looked_at |= {at for step, _ in changes for at in (step - 1, step, step + 1) if 0 < at < len(total)}
    for at in sorted(looked_at):
        now = {severity for severity, pairs in PAIRS.items() if truth.burns(at, pairs, BUDGET)}
        told.expect_alert("CheckoutFails", at, now, labels=LABELS, severity="sloth_severity")
    return told


def test_alerts_begin_and_end_at_the_minutes_that_the_arithmetic_says(tmp_path: Path):
    quiet = [0] * HOUR
    cases = [
        case("a burst of nine minutes", [*quiet * 2, *[400] * 9, *quiet * 2], [1_000] * (4 * HOUR + 9)),
        case("an outage that ends", [*quiet, *[1_000] * 20, *quiet * 2], [1_000] * (3 * HOUR + 20)),
        case("flapping", [300 if step // 7 % 3 == 0 else 0 for step in range(4 * HOUR)], [1_000] * (4 * HOUR)),
        case("no traffic", [0] * HOUR, [0] * HOUR),
        case(
            "traffic that goes away in the middle of an outage",
            [*quiet, *[500] * 30, *quiet * 2],
            [*[1_000] * (HOUR + 30), *quiet * 2],
        ),
        case("an error series that appears late", [*quiet * 2, *[210] * 60, *[0] * 30], [1_000] * 210, late=True),
        case(
            "traffic that swings",
            [*quiet * 2, *[3] * 70, *[0] * 40],
            [*[1_000] * (2 * HOUR), *[10] * 70, *[2_000] * 40],
        ),
        case(
            "a scrape gap",
            [*quiet * 2, *[210] * 30, *[None] * 20, *[210] * 40, *quiet * 2, *[0] * 30],
            [*[1_000] * (2 * HOUR + 30), *[None] * 20, *[1_000] * (2 * HOUR + 70)],
        ),
    ]
    run(tmp_path, sloth.groups(CHECKOUT), cases)


def test_a_constant_burn_alerts_above_each_factor_and_not_below_it(tmp_path: Path):
    cases = [
        case(f"{factor + around} of 1000 events", [factor + around] * HOUR, [1_000] * HOUR)
        for factor in (144, 60, 30, 10)
        for around in (-1, 1)
    ]
    # Windows that have only an hour to look at all see the same burn: a page is then a ticket too.
    assert [len(one.alerts[-1]["exp_alerts"]) for one in cases] == [2, 2, 1, 2, 1, 1, 0, 1]
    run(tmp_path, sloth.groups(CHECKOUT), cases)


def test_a_slow_leak_is_a_ticket_after_days(tmp_path: Path):
    steps_a_day = 360
    errors = [0] * (steps_a_day // 2) + [13] * (steps_a_day * 9 // 5)
    leak = case("a slow leak", errors, [1_000] * len(errors), step=240)
    assert [len(alert["exp_alerts"]) for alert in leak.alerts][-1] == 1
    run(tmp_path, sloth.groups(CHECKOUT), [leak])


def test_several_instances_and_resets_are_summed_before_they_are_judged(tmp_path: Path):
    length = 4 * HOUR
    errors = [*[0] * (2 * HOUR), *[300] * 40, *[0] * (2 * HOUR - 40)]
    total = [2_000] * length
    resets = frozenset((150, 171, 200))
    counters = [
        Counter('requests_total{code="500",instance="a"}', [bad // 3 for bad in errors], resets),
        Counter('requests_total{code="500",instance="b"}', [bad - bad // 3 for bad in errors], frozenset((160,))),
        Counter('requests_total{code="200",instance="a"}', [700] * length, resets),
        Counter(
            'requests_total{code="200",instance="b"}',
            [all - bad - 700 for all, bad in zip(total, errors, strict=True)],
            frozenset((160,)),
        ),
    ]
    run(tmp_path, sloth.groups(CHECKOUT), [case("restarts", errors, total, *counters)])


def test_alerts_follow_the_windows_and_factors_that_an_objective_has_of_its_own(tmp_path: Path):
    pairs = (
        BurnRateAlert("quick", BurnResponse.PAGE, 1_200, 180, Decimal(20)),
        BurnRateAlert("slow", BurnResponse.TICKET, 7_200, 600, Decimal("2.5")),
    )
    own = ObjectiveDefinition(
        service="shop",
        name="own",
        objective=Decimal("0.95"),
        window=RollingWindow(86_400),
        indicator=CHECKOUT.indicator,
        alerting=Alerting(name="Own", burn_rates=pairs, ticket=AlertMessage(is_enabled=False)),
    )
    errors = [*[0] * 120, *[1_000] * 21, *[0] * 60]
    told = Case("own windows", served(errors, [1_000] * 201))
    truth = Mathematics(errors, [1_000] * 201)
    changes = truth.timeline(lambda at: truth.burns(at, [(1_200, 180, Fraction(20))], Fraction(5, 100)))
    assert changes == []  # A factor of 20 is more than all events of an objective of 95 % can burn.
    for at in (130, 140, 150):
        told.expect_alert("Own", at, set(), labels={}, severity="sloth_severity")
    run(tmp_path, sloth.groups(own), [told])
