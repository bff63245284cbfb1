"""Everything that runs in a Prometheus under the rules of Sloth or Pyrra."""

from collections.abc import Iterable
from typing import Final

from engines.slo.adoption import pyrra, sloth
from engines.slo.adoption.found import Found
from engines.slo.adoption.rules import RunningSeries, running_rules

SERIES_QUERY: Final = f'{{__name__=~"{"|".join((*sloth.METRICS, *pyrra.METRICS))}"}}'
"""The instant query whose answer is the `series` of `adopted`."""


def adopted(rules: object, series: Iterable[RunningSeries] = ()) -> list[Found]:
    """The objectives in the `data` of `/api/v1/rules`, and in the series that SERIES_QUERY finds beside them."""
    known, beside = running_rules(rules), list(series)
    return [*sloth.adopted(known, beside), *pyrra.adopted(known, beside)]
