"""What all formats share: targets, windows, and whether a whole objective makes sense."""

from decimal import Decimal
from typing import Final

from domain.errors import ValidationFailed
from domain.objectives import ObjectiveDefinition
from domain.services import service_name
from domain.slos import BurnResponse
from engines.slo.checks import checked_definition, remarks
from engines.slo.formats import durations
from engines.slo.formats.specifications import Read, ServiceDescription
from engines.slo.formats.values import Report, Value

DEFAULT_PERIOD_SECONDS: Final = 30 * durations.DAY
"""The window of a Sloth or OpenSLO objective that names none."""

PAGES: Final = frozenset(
    ("page", "critical", "crit", "fatal", "emergency", "urgent", "high", "sev0", "sev1", "p0", "p1")
)
TICKETS: Final = frozenset(
    (
        *("ticket", "warning", "warn", "medium", "moderate", "low", "minor", "info", "informational", "notice"),
        *(f"{prefix}{level}" for prefix in ("sev", "p") for level in (2, 3, 4, 5)),
    )
)


class Collector:
    """The objectives and services of a text as they are found, each objective only once and only when it is whole."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.objectives: list[Read] = []
        self.services: dict[str, ServiceDescription] = {}
        self._places: dict[tuple[str, str], Read] = {}

    def add(self, definition: ObjectiveDefinition, at: Value, since: int, extras: str = "") -> None:
        """Keep an objective, if nothing was noted about it since the mark `since`."""
        if not self.report.is_clean_since(since):
            return
        try:
            definition = checked_definition(definition)
        except ValidationFailed as error:
            at.refuse(f"{'.'.join(error.path)}: {error.message}" if error.path else error.message)
            return
        identity = (definition.service.lower(), definition.name.lower())
        read = Read(definition, at.document, at.line, extras)
        first = self._places.setdefault(identity, read)
        if first is not read:
            at.refuse(
                f'"{definition.name}" of service "{definition.service}" is there already, in document '
                f"{first.document}, line {first.line}"
            )
            return
        self.objectives.append(read)
        for remark in remarks(definition):
            at.notice(remark)


def ratio(value: Value, *, percent: bool, also_quoted: bool = False) -> Decimal:
    """A target as an exact ratio in (0, 1)."""
    number = value.number(also_quoted=also_quoted)
    if number is None:
        return Decimal("0.5")
    target = number / 100 if percent else number
    if target == 1 or target == 0:
        why = "leaves no error budget at all" if target == 1 else "is met by everything"
        value.refuse(f"an objective of {_percent(target)} {why}: choose one between 0 % and 100 %")
    elif not 0 < target < 1:
        limit, hint = ("100", "") if percent else ("1", _percent_hint(number))
        value.refuse(f"must be above 0 and below {limit}, not {number}{hint}")
    else:
        return plain(target)
    return Decimal("0.5")


def plain(number: Decimal) -> Decimal:
    """The number without the zeros at its end, so that equal numbers look alike."""
    return Decimal(f"{number.normalize():f}")


def service(value: Value) -> str:
    """The name of a service."""
    text = value.name()
    if not text:
        return ""
    try:
        return service_name(text)
    except ValidationFailed as error:
        value.refuse(error.message)
        return ""


def prometheus_seconds(value: Value) -> int:
    """A duration as Prometheus writes it, in whole seconds."""
    milliseconds = durations.prometheus_milliseconds(value.text().strip())
    if milliseconds is None or milliseconds % 1000:
        value.refuse('must be a duration in whole seconds, like "4w", "30d" or "6h"')
        return DEFAULT_PERIOD_SECONDS
    return milliseconds // 1000


def response(severity: Value) -> BurnResponse:
    """Whether a severity of somebody's own words asks for a page or a ticket."""
    word = severity.text().strip().lower().replace("-", "").replace("_", "")
    if word in PAGES:
        return BurnResponse.PAGE
    if word not in TICKETS:
        severity.notice(f'severity "{word:.50}" is read as a ticket: "page" or "critical" would page')
    return BurnResponse.TICKET


def _percent(ratio: Decimal) -> str:
    return f"{ratio * 100:f} %"


def _percent_hint(number: Decimal) -> str:
    return f": {number} % is {number / 100:f}" if 1 < number < 100 else ""
