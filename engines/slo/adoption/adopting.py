"""Everything that runs in a Prometheus under the rules of Sloth or Pyrra."""

from collections.abc import Iterable
from typing import Final

from engines.slo.adoption import pyrra, sloth
from engines.slo.adoption.found import Found
from engines.slo.adoption.rules import RunningRule, RunningSeries

SERIES_QUERY: Final = f'{{__name__=~"{"|".join((*sloth.METRICS, *pyrra.METRICS))}"}}'
"""The instant query whose answer is the `series` of `adopted`."""


def adopted(rules: Iterable[RunningRule], series: Iterable[RunningSeries] = ()) -> list[Found]:
    """The objectives in all rules that run, and in the series that SERIES_QUERY finds beside them."""
    known, beside = list(rules), list(series)
    return [*sloth.adopted(known, beside), *pyrra.adopted(known, beside)]
