"""A text of any format that is known here, read: `read` says what it holds, and what is wrong with it."""

from enum import StrEnum
from typing import Final

from engines.slo.formats import documents, openslo, openslo_alpha, openslo_extras, pyrra, sloth
from engines.slo.formats.documents import Document, Mapping, Scalar, Sequence, UnreadableText
from engines.slo.formats.objectives import DEFAULT_PERIOD_SECONDS, Collector
from engines.slo.formats.specifications import Remark, Specification
from engines.slo.formats.values import Report, Value


class SpecificationFormat(StrEnum):
    """Whose words a text is in."""

    OPENSLO = "OPENSLO"
    SLOTH = "SLOTH"
    PYRRA = "PYRRA"


MAX_OBJECTIVES: Final = 20_000

_LISTS: Final = frozenset(("List", f"{sloth.OBJECTIVES_KIND}List", f"{pyrra.KIND}List"))
_KNOWN: Final = (
    f'"{openslo.API_VERSION}", "{openslo_alpha.API_VERSION}" (OpenSLO), version "{sloth.VERSION}" or '
    f'"{sloth.API_VERSION}" (Sloth) and "{pyrra.API_VERSION}" (Pyrra)'
)


def read(text: str, format: SpecificationFormat | None = None, *, period_seconds: int | None = None) -> Specification:
    """What a text in YAML or JSON holds. Never raises: whatever is wrong is among the `problems`.

    With `format` anything else is a problem. `period_seconds` is the window of Sloth's objectives, which their files do
    not say: 30 days, or that of the only catalog of alert windows in the text.
    """
    report = Report()
    try:
        read_documents = documents.read(text)
    except UnreadableText as error:
        return Specification(problems=(Remark(error.message, error.document, error.line),))
    roots = [root for document in read_documents for root in _objects(document, report)]
    if not roots and not report.problems:
        report.problems.append(Remark("there is nothing in this text"))
    collector = Collector(report)
    _read_all(roots, collector, format, period_seconds)
    if not collector.objectives and not collector.services and not report.problems:
        report.problems.append(Remark("there is no SLO in this text"))
    read_objectives = []
    for one in collector.objectives:
        whole, remark = openslo_extras.restored(one)
        read_objectives.append(whole)
        report.notices += [remark] if remark else []
    if len(read_objectives) > MAX_OBJECTIVES:
        report.problems.append(Remark(f"there are more than {MAX_OBJECTIVES} SLOs: import them in parts"))
    return Specification(
        tuple(sorted(read_objectives, key=lambda one: one.document)),
        tuple(collector.services.values()),
        # What several objectives share is looked at for each of them.
        tuple(dict.fromkeys(report.problems)),
        tuple(dict.fromkeys(report.notices)),
    )


def _read_all(
    roots: list[Value], collector: Collector, format: SpecificationFormat | None, period_seconds: int | None
) -> None:
    found: dict[str, list[Value]] = {}
    for root in roots:
        found.setdefault(_recognized(root, format) or "", []).append(root)
    for root in found.get(pyrra.KIND, ()):
        pyrra.read(root, collector)
    for root in found.get(openslo_alpha.API_VERSION, ()):
        openslo_alpha.read(root, collector)
    openslo.Reader(collector, found.get(openslo.API_VERSION, [])).read()
    catalogs: dict[int, sloth.Catalog] = {}
    for root in found.get(sloth.WINDOWS_KIND, ()):
        seconds, pairs = sloth.read_windows(root)
        if seconds in catalogs:
            root.refuse("there are alert windows for this period already")
        catalogs[seconds] = pairs
    if period_seconds is None:
        period_seconds = next(iter(catalogs)) if len(catalogs) == 1 else DEFAULT_PERIOD_SECONDS
    for root in found.get(sloth.VERSION, ()):
        sloth.read_file(root, collector, period_seconds, catalogs)
    for root in found.get(sloth.OBJECTIVES_KIND, ()):
        sloth.read_object(root, collector, period_seconds, catalogs)


def _objects(document: Document, report: Report) -> list[Value]:
    """The objects of a document: itself, the items of a list of Kubernetes', or those of a plain list."""
    root = Value(document.root, document.number, "", report)
    if isinstance(document.root, Sequence):
        return root.items()
    if isinstance(document.root, Mapping):
        kind = document.root.members.get("kind")
        if isinstance(kind, Scalar) and kind.text in _LISTS:
            items = root.members(("apiVersion", "kind", "metadata", "items")).require("items")
            return [] if items is None else items.items()
    return [root]


def _recognized(root: Value, format: SpecificationFormat | None) -> str | None:
    """Which reader an object is for; refused where there is none."""
    members = root.members()
    if not isinstance(root.node, Mapping):
        return None
    version = members.get("version")
    if "apiVersion" not in root.node.members and version is not None:
        if version.text() != sloth.VERSION:
            version.refuse(f'version "{version.text():.50}" is not known; these are: {_KNOWN}')
            return None
        return _required(root, format, SpecificationFormat.SLOTH, sloth.VERSION)
    api_version, kind = members.get("apiVersion"), members.get("kind")
    if api_version is None:
        root.refuse(f"says neither apiVersion nor version; known are {_KNOWN}")
        return None
    match api_version.text():
        case openslo.API_VERSION | openslo_alpha.API_VERSION as found:
            return _required(root, format, SpecificationFormat.OPENSLO, found)
        case sloth.API_VERSION:
            word = (
                None
                if (kind := members.require("kind")) is None
                else kind.choice((sloth.OBJECTIVES_KIND, sloth.WINDOWS_KIND))
            )
            return _required(root, format, SpecificationFormat.SLOTH, word)
        case pyrra.API_VERSION:
            word = None if (kind := members.require("kind")) is None else kind.choice((pyrra.KIND,))
            return _required(root, format, SpecificationFormat.PYRRA, word)
        case other:
            what = "" if kind is None else f', kind "{kind.text():.50}"'
            api_version.refuse(f'apiVersion "{other:.50}"{what} is not known; these are: {_KNOWN}')
            return None


def _required(
    root: Value, wanted: SpecificationFormat | None, found: SpecificationFormat, reader: str | None
) -> str | None:
    if wanted is not None and wanted is not found:
        root.refuse(f"is of {found.title()}, where {wanted.title()} was expected")
        return None
    return reader
