"""OpenSLO v1: SLO, SLI, AlertPolicy, AlertCondition, AlertNotificationTarget, Service and DataSource.

Source: https://github.com/OpenSLO/OpenSLO, with the rules of its Go SDK where the text leaves room. An SLO with several
objectives becomes one objective each; with indicators of their own they are members of a composite.
"""

import re
from dataclasses import replace
from decimal import Decimal
from typing import Final

import orjson

from domain.objectives import Budgeting, Composite, CompositeRule, Indicator, Member, ObjectiveDefinition
from domain.slos import BudgetingMethod
from engines.slo.formats import durations, objectives, openslo_alerts, openslo_indicators, openslo_windows
from engines.slo.formats.limits import LONGEST_SECONDS
from engines.slo.formats.objectives import Collector
from engines.slo.formats.openslo_alerts import Parts
from engines.slo.formats.openslo_indicators import Sources
from engines.slo.formats.specifications import ServiceDescription
from engines.slo.formats.values import Members, Value

API_VERSION: Final = "openslo/v1"
EXTRAS: Final = "reliability-studio.dev/definition"
"""The annotation for members of a definition that OpenSLO has no words for, as JSON."""
COMPOSITE: Final = "reliability-studio.dev/composite"
"""The annotation that says which objectives, kept elsewhere, are the members of a composite, and by which rule."""

KINDS: Final = ("DataSource", "SLO", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "Service")

_METHODS: Final = {
    "Occurrences": BudgetingMethod.OCCURRENCES,
    "Timeslices": BudgetingMethod.TIMESLICES,
    "RatioTimeslices": BudgetingMethod.RATIO_TIMESLICES,
}
_OBJECT: Final = ("apiVersion", "kind", "metadata", "spec")
_OBJECTIVE: Final = (
    "displayName",
    "op",
    "value",
    "target",
    "targetPercent",
    "timeSliceTarget",
    "timeSliceWindow",
    "indicator",
    "indicatorRef",
    "compositeWeight",
)
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


class Reader:
    """Reads the objects of one text: first all that can be referred to, then the SLOs."""

    def __init__(self, collector: Collector, roots: list[Value]) -> None:
        self._collector = collector
        self._sources = Sources()
        self._by_kind: dict[str, list[Value]] = {}
        self._named: dict[str, dict[str, Value]] = {kind: {} for kind in KINDS}
        for root in roots:
            self._know(root)

    def read(self) -> None:
        """Collect every objective and service."""
        for root in self._by_kind.get("DataSource", ()):
            self._sources.add(root)
        for root in self._by_kind.get("Service", ()):
            self._read_service(root)
        for root in self._by_kind.get("AlertNotificationTarget", ()):
            openslo_alerts.read_target(root)
        for root in self._by_kind.get("SLO", ()):
            self._read_slo(root)

    def _know(self, root: Value) -> None:
        members = root.members()
        kind = members.require("kind")
        word = None if kind is None else kind.choice(KINDS)
        if word is None:
            return
        self._by_kind.setdefault(word, []).append(root)
        metadata = members.require("metadata")
        name = None if metadata is None else metadata.members(_METADATA).require("name")
        text = "" if name is None else name.name()
        # Names of SLOs are those of one service only, and nothing refers to them.
        if name is not None and word != "SLO" and text in self._named[word]:
            first = self._named[word][text]
            name.refuse(f'there is a {word} "{text:.100}" already, in document {first.document}, line {first.line}')
        self._named[word].setdefault(text, root)

    def _read_service(self, root: Value) -> None:
        mark = self._collector.report.mark()
        members = root.members(_OBJECT)
        metadata = members.given("metadata").members()
        name = metadata.get("name")
        spec = members.get("spec")
        described = ServiceDescription(
            name="" if name is None else objectives.service(name),
            display_name=metadata.text("displayName"),
            description="" if spec is None else spec.members(("description",)).text("description"),
            labels=metadata.labels("labels", with_lists=True),
        )
        if described.name and self._collector.report.is_clean_since(mark):
            self._collector.services.setdefault(described.name, described)

    def _read_slo(self, root: Value) -> None:
        mark = self._collector.report.mark()
        members = root.members(_OBJECT)
        spec = members.require("spec")
        if spec is None:
            return
        fields = spec.members(
            (
                "description",
                "service",
                "indicator",
                "indicatorRef",
                "timeWindow",
                "budgetingMethod",
                "objectives",
                "alertPolicies",
            )
        )
        metadata = members.given("metadata").members()
        common, extras = self._common(metadata, fields, spec), _extras(metadata)
        given = fields.require("objectives")
        items = [] if given is None else given.items()
        if given is not None and not items:
            given.refuse("at least one objective is required")
        each = [item.members(_OBJECTIVE) for item in items]
        is_composite = any(one.get("indicator") or one.get("indicatorRef") for one in each)
        if is_composite and COMPOSITE in common.annotations:
            self._read_kept_composite(root, common, each, mark, extras)
            return
        if is_composite:
            self._read_composite(root, common, fields, each, mark)
            return
        sli = self._sli(fields)
        names = unique_names([_suffix(one, None) for one in each])
        for one, name in zip(each, names, strict=True):
            indicator: Indicator = openslo_indicators.NOTHING
            if sli is not None:
                indicator = openslo_indicators.indicator(sli, one, self._sources)
            definition = self._objective(common, one, indicator)
            if len(each) > 1:
                definition = _one_of_several(definition, one, name)
            elif not definition.display_name:
                definition = replace(definition, display_name=one.text("displayName"))
            self._collector.add(definition, *((root, mark, extras) if len(each) == 1 else (one.owner, mark)))

    def _common(self, metadata: Members, fields: Members, spec: Value) -> ObjectiveDefinition:
        """All that the objectives of an SLO share."""
        name, service = metadata.get("name"), fields.require("service")
        parts = Parts(self._named["AlertPolicy"], self._named["AlertCondition"], self._named["AlertNotificationTarget"])
        return ObjectiveDefinition(
            service="" if service is None else objectives.service(service),
            name="" if name is None else name.name(),
            display_name=metadata.text("displayName"),
            description=fields.text("description"),
            objective=Decimal("0.5"),
            window=openslo_windows.window(fields.get("timeWindow"), spec),
            budgeting=Budgeting(_method(fields, spec)),
            indicator=openslo_indicators.NOTHING,
            alerting=openslo_alerts.alerting(fields.get("alertPolicies"), parts),
            labels=metadata.labels("labels", with_lists=True),
            annotations=metadata.labels("annotations", but=EXTRAS),
        )

    def _sli(self, holder: Members) -> Members | None:
        """The spec of the SLI that an SLO or an objective gives or refers to."""
        if holder.only_one_of("indicator", "indicatorRef") is None:
            return None
        reference, given = holder.get("indicatorRef"), holder.get("indicator")
        if reference is not None:
            given = self._named["SLI"].get(reference.text())
            if given is None:
                reference.refuse(f'there is no SLI "{reference.text():.100}" in this text')
        if given is None:
            return None
        spec = given.members(_OBJECT).require("spec")
        return None if spec is None else spec.members(("description", "ratioMetric", "thresholdMetric"))

    def _objective(self, common: ObjectiveDefinition, one: Members, indicator: Indicator) -> ObjectiveDefinition:
        weight = one.get("compositeWeight")
        if weight is not None and one.get("indicator") is None and one.get("indicatorRef") is None:
            weight.notice("is left out: it counts only among objectives with indicators of their own")
        return replace(
            common, objective=_target(one), budgeting=_budgeting(one, common.budgeting.method), indicator=indicator
        )

    def _read_composite(
        self, root: Value, common: ObjectiveDefinition, fields: Members, each: list[Members], mark: int
    ) -> None:
        for name in ("indicator", "indicatorRef"):
            value = fields.get(name)
            if value is not None:
                value.refuse("cannot be given beside objectives that have indicators of their own")
        names = unique_names([_suffix(one, _sli_name(one)) for one in each])
        definitions, weights = [], []
        for one, name in zip(each, names, strict=True):
            sli = self._sli(one)
            indicator: Indicator = openslo_indicators.NOTHING
            if sli is not None:
                indicator = openslo_indicators.indicator(sli, one, self._sources)
            definitions.append(_one_of_several(self._objective(common, one, indicator), one, name))
            weights.append(_weight(one))
        for definition, one in zip(definitions, each, strict=True):
            self._collector.add(definition, one.owner, mark)
        members = tuple(
            Member(common.service, definition.name, weight)
            for definition, weight in zip(definitions, weights, strict=True)
        )
        is_sliced = common.budgeting.method is BudgetingMethod.TIMESLICES
        rule = CompositeRule.ANY_BAD_SLICE if is_sliced else CompositeRule.WEIGHTED
        whole = sum(weights, Decimal(0))
        parts = zip(definitions, weights, strict=True)
        target = sum((definition.objective * weight for definition, weight in parts), Decimal(0)) / whole
        composite = replace(
            common,
            objective=objectives.plain(target.quantize(Decimal("1e-9"))),
            indicator=Composite(rule, members),
            budgeting=replace(definitions[0].budgeting, slice_objective=None),
        )
        self._collector.add(composite, root, mark)

    def _read_kept_composite(
        self, root: Value, common: ObjectiveDefinition, each: list[Members], mark: int, extras: str
    ) -> None:
        """A composite that was written here: its members are objectives of their own, and are not made again."""
        annotation = root.members().given("metadata").members().given("annotations").members().given(COMPOSITE)
        composite = _kept_composite(common.annotations[COMPOSITE], each)
        if composite is None:
            annotation.refuse("does not name the members of these objectives: remove it to read them as new ones")
            return
        definition = replace(
            self._objective(common, each[0], openslo_indicators.NOTHING),
            indicator=composite,
            annotations={name: value for name, value in common.annotations.items() if name != COMPOSITE},
        )
        self._collector.add(definition, root, mark, extras)


_METADATA: Final = ("name", "displayName", "labels", "annotations")


def _extras(metadata: Members) -> str:
    annotations = metadata.get("annotations")
    extras = None if annotations is None else annotations.members().get(EXTRAS)
    return "" if extras is None else extras.long_text()


def _kept_composite(annotation: str, each: list[Members]) -> Composite | None:
    try:
        told = orjson.loads(annotation)
        rule = CompositeRule(told["rule"])
        names = [(str(member["service"]), str(member["name"])) for member in told["members"]]
    except (ValueError, KeyError, TypeError):
        return None
    if len(names) != len(each) or any(
        one.text("displayName") != name for one, (_, name) in zip(each, names, strict=True)
    ):
        return None
    members = zip(names, each, strict=True)
    return Composite(rule, tuple(Member(service, name, _weight(one)) for (service, name), one in members))


def unique_names(suffixes: list[str]) -> list[str]:
    """Endings for the names of several objectives: what each calls itself, or its place where two say the same."""
    return [
        suffix if suffix and suffixes.count(suffix) == 1 else str(place) for place, suffix in enumerate(suffixes, 1)
    ]


def slug(text: str) -> str:
    """A text as a part of a name: small letters, digits and dashes."""
    return _NOT_IN_A_NAME.sub("-", text.lower()).strip("-")[:63].rstrip("-")


def _suffix(one: Members, sli_name: str | None) -> str:
    display = one.get("displayName")
    called = slug(display.text()) if display is not None else slug(sli_name or "")
    if called:
        return called
    target = one.get("target") or one.get("targetPercent")
    return "" if target is None else slug(f"{_target(one) * 100:f}")


def _sli_name(one: Members) -> str:
    reference, given = one.get("indicatorRef"), one.get("indicator")
    if reference is not None:
        return reference.text()
    metadata = None if given is None else given.members().get("metadata")
    return "" if metadata is None else metadata.members().text("name")


def _one_of_several(definition: ObjectiveDefinition, one: Members, suffix: str) -> ObjectiveDefinition:
    display = one.text("displayName")
    whole = definition.display_name
    return replace(
        definition,
        name=f"{definition.name}-{suffix}",
        display_name=f"{whole}: {display}" if whole and display else display or whole,
    )


def _target(one: Members) -> Decimal:
    given = one.only_one_of("target", "targetPercent")
    return Decimal("0.5") if given is None else objectives.ratio(given, percent=given.path.endswith("Percent"))


def _weight(one: Members) -> Decimal:
    given = one.get("compositeWeight")
    weight = None if given is None else given.number()
    if weight is None:
        return Decimal(1)
    if given is not None and weight <= 0:
        given.refuse("must be above 0")
        return Decimal(1)
    return objectives.plain(weight)


def _method(fields: Members, spec: Value) -> BudgetingMethod:
    given = fields.get("budgetingMethod")
    if given is None:
        spec.notice("budgetingMethod is not given: events are counted (Occurrences)")
        return BudgetingMethod.OCCURRENCES
    return _METHODS[given.choice(tuple(_METHODS), any_case=True) or "Occurrences"]


def _budgeting(one: Members, method: BudgetingMethod) -> Budgeting:
    window, target = one.get("timeSliceWindow"), one.get("timeSliceTarget")
    if method is BudgetingMethod.OCCURRENCES:
        for value in (window, target):
            if value is not None:
                value.notice("is left out: it counts only where budgetingMethod is Timeslices or RatioTimeslices")
        return Budgeting(method)
    window = one.require("timeSliceWindow")
    seconds = 300 if window is None else _slice_seconds(window)
    if method is BudgetingMethod.RATIO_TIMESLICES:
        return Budgeting(method, seconds)
    target = one.require("timeSliceTarget")
    return Budgeting(method, seconds, None if target is None else openslo_indicators.slice_target(target))


def _slice_seconds(window: Value) -> int:
    """A duration, or a number of minutes."""
    text = window.text().strip()
    found = durations.shorthand(text) or (
        durations.shorthand(f"{text}m") if text.isascii() and text.isdigit() else None
    )
    seconds = 0 if found is None else durations.shorthand_seconds(*found)
    if not 0 < seconds <= LONGEST_SECONDS:
        window.refuse('must be a duration like "1m", "5m" or "1h", or a number of minutes')
        return 300
    return seconds
