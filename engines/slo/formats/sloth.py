"""Sloth: `prometheus/v1` files, and the objects `PrometheusServiceLevel` and `AlertWindows` of `sloth.slok.dev/v1`.

Source: Sloth 0.16, pkg/prometheus/api/v1, pkg/kubernetes/api/sloth/v1 and pkg/prometheus/alertwindows/v1. The two kinds
say the same in snake_case and camelCase. A file never names its window: that is an option of Sloth's command line, 30
days unless somebody says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from domain.objectives import (
    Alerting,
    AlertMessage,
    BurnRateAlert,
    Indicator,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
)
from domain.slos import BurnResponse
from engines.slo import promql
from engines.slo.formats import objectives
from engines.slo.formats.objectives import Collector
from engines.slo.formats.values import Members, Value

VERSION: Final = "prometheus/v1"
API_VERSION: Final = "sloth.slok.dev/v1"
OBJECTIVES_KIND: Final = "PrometheusServiceLevel"
WINDOWS_KIND: Final = "AlertWindows"

_PAGES: Final = ("page_alert", "pageAlert")
_TICKETS: Final = ("ticket_alert", "ticketAlert")
_OWN_PLUGINS: Final = "sloth.dev/"
_TIERS: Final = (
    ("page", BurnResponse.PAGE, "quick"),
    ("page", BurnResponse.PAGE, "slow"),
    ("ticket", BurnResponse.TICKET, "quick"),
    ("ticket", BurnResponse.TICKET, "slow"),
)


@dataclass(frozen=True, slots=True)
class _Words:
    """The names of members that differ between a file and a Kubernetes object."""

    error_query: str
    total_query: str
    error_ratio_query: str
    page_alert: str
    ticket_alert: str
    plugins: str


_FILE: Final = _Words("error_query", "total_query", "error_ratio_query", "page_alert", "ticket_alert", "slo_plugins")
_OBJECT: Final = _Words("errorQuery", "totalQuery", "errorRatioQuery", "pageAlert", "ticketAlert", "sloPlugins")


def read_file(root: Value, collector: Collector, period_seconds: int, catalogs: Mapping[int, "Catalog"]) -> None:
    """The objectives of a `prometheus/v1` file."""
    members = root.members(("version", "service", "labels", _FILE.plugins, "slos"))
    _read(members, _FILE, collector, period_seconds, catalogs)


def read_object(root: Value, collector: Collector, period_seconds: int, catalogs: Mapping[int, "Catalog"]) -> None:
    """The objectives of a PrometheusServiceLevel. What Kubernetes keeps in its metadata and status is its own."""
    members = root.members(("apiVersion", "kind", "metadata", "spec", "status"))
    spec = members.require("spec")
    if spec is not None:
        _read(
            spec.members(("service", "labels", _OBJECT.plugins, "slos")), _OBJECT, collector, period_seconds, catalogs
        )


Catalog = tuple[BurnRateAlert, ...]


def read_windows(root: Value) -> tuple[int, Catalog]:
    """The period of a catalog of alert windows, and its pairs."""
    spec = root.members(("apiVersion", "kind", "metadata", "spec")).require("spec")
    if spec is None:
        return 0, ()
    members = spec.members(("sloPeriod", "page", "ticket"))
    given = members.require("sloPeriod")
    period_seconds = 0 if given is None else objectives.prometheus_seconds(given)
    pairs = []
    for tier, response, speed in _TIERS:
        holder = members.require(tier)
        window = None if holder is None else holder.members(("quick", "slow")).require(speed)
        if window is not None:
            pairs.append(_pair(window, f"{tier}-{speed}", response, period_seconds))
    return period_seconds, tuple(pairs)


def _pair(window: Value, name: str, response: BurnResponse, period_seconds: int) -> BurnRateAlert:
    members = window.members(("errorBudgetPercent", "shortWindow", "longWindow"))
    long, short = (
        1 if (given := members.require(name)) is None else objectives.prometheus_seconds(given)
        for name in ("longWindow", "shortWindow")
    )
    percent = members.require("errorBudgetPercent")
    part = None if percent is None else percent.number()
    if percent is not None and part is not None and not 0 < part <= 100:
        percent.refuse("must be above 0 and at most 100")
    if short > long:
        members.given("shortWindow").refuse("the short window must not be longer than the long one")
    factor = (part or Decimal(1)) * period_seconds / (100 * long)
    return BurnRateAlert(name, response, long, short, objectives.plain(factor))


def _read(
    members: Members, words: _Words, collector: Collector, period_seconds: int, catalogs: Mapping[int, Catalog]
) -> None:
    mark = collector.report.mark()
    given = members.require("service")
    service = "" if given is None else objectives.service(given)
    labels = members.labels("labels")
    _read_plugins(members.get(words.plugins))
    is_sound = collector.report.is_clean_since(mark)
    slos = members.require("slos")
    items = [] if slos is None else slos.items()
    if slos is not None and not items:
        slos.refuse("at least one SLO is required")
    for slo in items:
        since = collector.report.mark() if is_sound else -1
        definition = _objective(slo, words, service, labels)
        definition = replace(
            definition,
            window=RollingWindow(period_seconds),
            alerting=replace(definition.alerting, burn_rates=catalogs.get(period_seconds, ())),
        )
        collector.add(definition, slo, since)


def _objective(slo: Value, words: _Words, service: str, labels: Mapping[str, str]) -> ObjectiveDefinition:
    members = slo.members(("name", "objective", "description", "labels", "sli", "alerting", "plugins"))
    name, target, sli = (members.require(required) for required in ("name", "objective", "sli"))
    _read_plugins(members.get("plugins"))
    return ObjectiveDefinition(
        service=service,
        name="" if name is None else name.name(),
        description=members.text("description"),
        objective=Decimal("0.5") if target is None else objectives.ratio(target, percent=True),
        indicator=RatioIndicator(bad="", total="") if sli is None else _indicator(sli, words),
        alerting=_alerting(members.get("alerting"), words),
        labels={**labels, **members.labels("labels")},
    )


def _indicator(sli: Value, words: _Words) -> Indicator:
    members = sli.members(("raw", "events", "plugin"))
    given = members.only_one_of("events", "raw", "plugin")
    if given is None:
        return RatioIndicator(bad="", total="")
    if given.path.endswith(".plugin"):
        id = given.members().text("id")
        given.refuse(f'SLI plugins are not run here, "{id:.100}" among them: write its queries out as events or raw')
        return RatioIndicator(bad="", total="")
    if given.path.endswith(".raw"):
        query = given.members((words.error_ratio_query,)).require(words.error_ratio_query)
        return RawRatioIndicator("" if query is None else _windowed(query))
    queries = given.members((words.error_query, words.total_query))
    error, total = queries.require(words.error_query), queries.require(words.total_query)
    indicator = RatioIndicator(
        bad="" if error is None else _windowed(error), total="" if total is None else _windowed(total)
    )
    if error is not None and indicator.bad and indicator.bad == indicator.total:
        error.refuse("is the same query as for all events, so that every event would be an error")
    return indicator


def _windowed(query: Value) -> str:
    text = query.query()
    if text and not promql.has_window(text):
        query.refuse("never says {{.window}}: put it where the range belongs, as in rate(x[{{.window}}])")
    return text


def _alerting(alerting: Value | None, words: _Words) -> Alerting:
    if alerting is None:
        return Alerting()
    members = alerting.members(("name", "labels", "annotations", *_PAGES, *_TICKETS))
    return Alerting(
        name=members.text("name"),
        labels=members.labels("labels"),
        annotations=members.labels("annotations"),
        page=_message(_either(members, words.page_alert, _PAGES)),
        ticket=_message(_either(members, words.ticket_alert, _TICKETS)),
    )


def _either(members: Members, own: str, spellings: tuple[str, str]) -> Value | None:
    """An alert by the spelling of this kind of text, or by that of the other kind, which Sloth passes over."""
    for spelling in spellings:
        value = members.get(spelling)
        if value is not None and spelling != own:
            value.notice(f"is read as {own}, which is how Sloth wants it to be spelled here")
    return members.get(own) or next((value for name in spellings if (value := members.get(name))), None)


def _message(alert: Value | None) -> AlertMessage:
    if alert is None:
        return AlertMessage()
    members = alert.members(("disable", "labels", "annotations"))
    return AlertMessage(
        labels=members.labels("labels"),
        annotations=members.labels("annotations"),
        is_enabled=not members.truth("disable", default=False),
    )


def _read_plugins(plugins: Value | None) -> None:
    """SLO plugins change the rules that Sloth writes. Its own are about rules alone, others may do anything."""
    if plugins is None:
        return
    members = plugins.members(("overridePrevious", "chain"))
    chain = members.get("chain")
    for plugin in [] if chain is None else chain.items():
        id = plugin.members(("id", "config", "priority")).text("id")
        if id.startswith(_OWN_PLUGINS):
            plugin.notice(f'plugin "{id:.100}" is left out: it changes the rules that Sloth writes, not the objective')
        else:
            plugin.refuse(f'plugin "{id:.100}" is not run here: remove it, and say in the SLO what it would change')
