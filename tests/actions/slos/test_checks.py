"""What Prometheus says of an objective before it is saved."""

from dataclasses import replace
from decimal import Decimal

import pytest

from actions.slos.checks import check
from domain.errors import ValidationFailed
from domain.objectives import LatencyIndicator, ObjectiveDefinition, RatioIndicator
from domain.time import Deadline
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport
from tests.actions.shop_history import NOW, SCRAPE_SECONDS

RIGHT = ObjectiveDefinition(
    service="shop",
    name="availability",
    objective=Decimal("0.999"),
    indicator=RatioIndicator(bad='shop_requests_total{code="500"}', total="shop_requests_total"),
)


async def checked(prometheus: Prometheus | None, **different: object) -> list[str]:
    definition = replace(RIGHT, **different)
    known = {"scrape_interval_seconds": SCRAPE_SECONDS, "now": NOW, "deadline": Deadline.after(10)}
    return await check(definition, prometheus, **known)


async def test_what_is_right_needs_no_remark(shop):
    assert await checked(shop.client) == []
    assert await checked(shop.client, indicator=LatencyIndicator("shop_seconds", Decimal(1))) == []
    assert await checked(shop.client, group_by=("team",)) == []


@pytest.mark.parametrize(
    ("different", "message", "path"),
    [
        (
            {"indicator": LatencyIndicator("shop_seconds", Decimal("0.5"))},
            "The nearest thresholds are 0.1 and 1 s",
            ("indicator", "thresholdSeconds"),
        ),
        (
            {
                "indicator": RatioIndicator(
                    bad="sum by (code) (rate(shop_requests_total[$window]))", total="sum(shop_up)"
                )
            },
            "The query of bad events returned several series, expected one. Aggregate it",
            ("indicator",),
        ),
        (
            {"indicator": RatioIndicator(good="shop_requests_total", total='shop_requests_total{code="500"}')},
            "good events have to be among all events",
            ("indicator",),
        ),
        (
            {"indicator": RatioIndicator(bad='label_replace(vector(1), "a", "$1", "b", "(")', total="vector(1)")},
            "invalid regular expression",
            ("indicator",),
        ),
        (
            {
                "indicator": RatioIndicator(bad="sum(rate(shop_requests_total[$window]))", total="shop_requests_total"),
                "group_by": ("team",),
            },
            "return no label team: keep it",
            ("groupBy",),
        ),
    ],
)
async def test_what_can_never_be_evaluated_is_refused_with_the_place_and_the_reason(shop, different, message, path):
    with pytest.raises(ValidationFailed) as refused:
        await checked(shop.client, **different)
    assert message in refused.value.message
    assert refused.value.path == path


async def test_what_has_no_data_yet_can_be_saved_and_is_said(shop):
    [remark] = await checked(shop.client, indicator=RatioIndicator(bad="later_total{a=''}", total="later_total"))
    assert "returned nothing" in remark
    [*_, remark] = await checked(shop.client, indicator=LatencyIndicator("later_seconds", Decimal("0.5")))
    assert "returned nothing" in remark


async def test_while_prometheus_is_away_objectives_are_saved_and_that_is_said():
    async with Transport(Endpoint(backend="Prometheus", url="http://127.0.0.1:9")) as nowhere:
        [remark] = await checked(Prometheus(nowhere))
    assert remark.startswith("Its queries could not be tried")
    assert await checked(None) == []
