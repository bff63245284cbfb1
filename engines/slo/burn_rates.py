"""Which burns are too fast: pairs of windows and factors (Google SRE workbook, chapter 5, "Alerting on SLOs")."""

from decimal import Decimal
from typing import Final

from domain.objectives import Alerting, BurnRateAlert, Window
from domain.slos import BurnResponse
from engines.slo.promql import duration
from engines.slo.windows import usual_seconds

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400

USUAL_PAIRS: Final = (
    (BurnResponse.PAGE, Decimal("0.02"), _HOUR, 5 * _MINUTE),
    (BurnResponse.PAGE, Decimal("0.05"), 6 * _HOUR, 30 * _MINUTE),
    (BurnResponse.TICKET, Decimal("0.10"), _DAY, 2 * _HOUR),
    (BurnResponse.TICKET, Decimal("0.10"), 3 * _DAY, 6 * _HOUR),
)
"""Response, the part of the budget that is spent within the long window, long and short window in seconds."""


def factor(budget_part: Decimal, period_seconds: int, long_window_seconds: int) -> Decimal:
    """How many times faster than evenly a budget burns, of which `budget_part` is gone after the long window."""
    return budget_part * period_seconds / long_window_seconds


def usual_alerts(window: Window) -> tuple[BurnRateAlert, ...]:
    """The usual pairs for a window of this length, without those that look back longer than the window itself."""
    period_seconds = usual_seconds(window)
    return tuple(
        BurnRateAlert(
            name=f"{response.lower()}-{duration(long)}",
            response=response,
            long_window_seconds=long,
            short_window_seconds=short,
            factor=factor(part, period_seconds, long),
        )
        for response, part, long, short in USUAL_PAIRS
        if long <= period_seconds
    )


def alerts_of(alerting: Alerting, window: Window) -> tuple[BurnRateAlert, ...]:
    """The pairs that watch an objective: its own, or the usual ones; none for a response that is switched off."""
    enabled = {BurnResponse.PAGE: alerting.page.is_enabled, BurnResponse.TICKET: alerting.ticket.is_enabled}
    return tuple(pair for pair in alerting.burn_rates or usual_alerts(window) if enabled[pair.response])


def never_fires(alert: BurnRateAlert, objective: Decimal) -> bool:
    """Whether not even a service that fails altogether burns that fast."""
    return alert.factor * (1 - objective) >= 1
