"""How fast the error budgets of services burn, as their SLOs say."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np
from sqlalchemy import text

from actions.detection_questions import Measured, WatchedService
from db.database import Transaction
from db.detection import SLO_BURNS_SQL
from domain.detection import Rule
from engines.detection.statistics import Floats

_MEASURED_WITHIN: Final = timedelta(minutes=15)


async def slo_burns(tx: Transaction, *, rule: Rule, at: datetime) -> dict[UUID, float]:
    """The burn rates of services whose SLOs were measured over the windows of a rule: the lesser of both windows, and
    of several SLOs the highest.
    """
    values = {
        "measured_after": at - _MEASURED_WITHIN,
        "long": rule.parameters.long_window_seconds,
        "short": rule.parameters.short_window_seconds,
    }
    return {row.service_id: row.burn for row in await tx.execute(text(SLO_BURNS_SQL), values)}


def with_slo_burns(
    watched: Sequence[WatchedService], measured: Measured | None, burns: Mapping[UUID, float]
) -> Measured:
    """What SLOs say of services, and of the others what was measured of their golden signals."""
    values = np.full((len(watched), 1), np.nan)
    requests = np.full((len(watched), 1), np.inf)
    rows = {} if measured is None else {service.id: row for row, service in enumerate(measured.services)}
    for index, service in enumerate(watched):
        if service.id in burns:
            values[index] = burns[service.id]
        elif measured is not None:
            values[index] = measured.values[rows[service.id]]
            requests[index] = _requests(measured, rows[service.id])
    if measured is None:
        return Measured(watched, values, None, {}, ())
    counted = None if measured.requests is None else requests
    return replace(measured, services=watched, values=values, requests=counted)


def _requests(measured: Measured, row: int) -> Floats | float:
    return np.nan if measured.requests is None else measured.requests[row]
