"""Recorded incidents on disk, read into what the engine is told in production.

A folder per case; what its files hold stands in the README beside them. Parsed cases are kept in a folder of the
system's for temporary files, because parsing takes longer than analysing.
"""

import csv
import gzip
import hashlib
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from domain.correlation import RootCauseKind
from domain.traces import NANOSECONDS, Span, SpanKind, SpanStatus
from engines.correlation.evidence import Call, Evidence, LogPattern, Series, Signal
from engines.correlation.record import read_evidence, write
from engines.correlation.trace_digest import LinkedLine, digest
from engines.log_lines import level_of
from engines.log_templates import LogTemplates

DAY = 86_400
HOUR = 3_600
NORMAL_BEFORE_SECONDS = 600
BUCKET_SECONDS = 60
SIMILAR_LINES = 0.7
_SPAN_ID = re.compile(r"span_?id\W{1,4}([0-9a-f]{16})", re.IGNORECASE)
SIGNALS: Mapping[str, tuple[Signal, float]] = {
    # Kubernetes and its mesh, as in the recordings of Nezha
    "PodWorkload(Ops)": (Signal.REQUEST_RATE, 1.0),
    "PodServerLatencyP95(s)": (Signal.LATENCY_P95, 1.0),
    "PodServerLatencyP99(s)": (Signal.LATENCY_P99, 1.0),
    "CpuUsageRate(%)": (Signal.CPU, 0.01),
    "MemoryUsageRate(%)": (Signal.MEMORY, 0.01),
    "NetworkReceiveBytes": (Signal.NETWORK, 1.0),
    "PodSuccessRate(%)": (Signal.ERROR_RATIO, -0.01),
    # CloudWatch
    "requests/Sum": (Signal.REQUEST_RATE, 1 / 300),
    "latency/Average": (Signal.LATENCY_MEAN, 1.0),
    "latency/p50": (Signal.LATENCY_P50, 1.0),
    "latency/p95": (Signal.LATENCY_P95, 1.0),
    "latency/p99": (Signal.LATENCY_P99, 1.0),
    "availability/Average": (Signal.ERROR_RATIO, -0.01),
}
"""What the recordings' metrics are, and the factor to the engine's unit; a negative one turns success into errors."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What was broken on purpose."""

    service: str
    kind: RootCauseKind | None
    fault: str


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded incident, and the answer."""

    id: str
    system: str
    evidence: Evidence
    truth: Truth


def read_cases(folder: Path, only: str = "") -> Iterator[Case]:
    """The cases of a folder whose id contains `only`, in the order of their ids. Raises FileNotFoundError."""
    found = sorted(path.parent for path in folder.glob("*/case.json"))
    if not found:
        raise FileNotFoundError(f"{folder} holds no case: expected folders with a case.json in each")
    for path in found:
        if only in path.name:
            yield read_case(path)


def read_case(folder: Path) -> Case:
    """One case, parsed or from the cache."""
    about = json.loads((folder / "case.json").read_text())
    truth = json.loads((folder / "truth.json").read_text())
    kept = _kept_path(folder, about)
    if kept.exists():
        evidence = read_evidence(kept.read_bytes())
    else:
        evidence = gather(folder, about)
        kept.parent.mkdir(exist_ok=True, mode=0o700)
        kept.write_bytes(write(evidence))
    kind = truth.get("kind")
    return Case(
        about["id"],
        about["system"],
        evidence,
        Truth(truth["service"], None if kind is None else RootCauseKind(kind), _fault(truth["fault"])),
    )


def gather(folder: Path, about: Mapping[str, Any]) -> Evidence:
    """What the backends would have told: the same types that production gathers, from files."""
    series = _series(folder, about)
    evidence = Evidence(
        services=(about["alerting_service"],),
        noticed_at=float(about["alert_unix_s"]),
        start=0.0,
        end=0.0,
        calls=_calls(folder, about),
        series=series,
    )
    evidence = _with_traces_and_logs(evidence, folder)
    times = [part.times for part in series if len(part.times)]
    times += [evidence.traces.starts] if evidence.traces is not None else []
    times += [evidence.log_times, np.array([evidence.noticed_at])]
    every = np.concatenate(times)
    return replace(evidence, start=float(every.min()), end=float(every.max()))


def _kept_path(folder: Path, about: Mapping[str, Any]) -> Path:
    here = Path(__file__).parents[1]
    code = [Path(__file__), *sorted(here.glob("engines/*.py")), here / "engines/correlation/evidence.py"]
    code.append(here / "engines/correlation/trace_digest.py")
    digest = hashlib.blake2b(digest_size=16)
    for path in code:
        digest.update(path.read_bytes())
    for path in sorted([*folder.iterdir(), *_baseline(folder, about).glob("*")]):
        digest.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return Path(tempfile.gettempdir()) / "reliability-studio-root-cause" / f"{digest.hexdigest()}.json"


def _baseline(folder: Path, about: Mapping[str, Any]) -> Path:
    return folder.parent / str(about["baseline"]) if about.get("baseline") else folder


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with gzip.open(path, "rt", newline="", encoding="utf-8", errors="replace") as file:
            yield from csv.DictReader(file)


def _fault(fault: str) -> str:
    """A fault's name without its amount: `searchdelay` of a command that sets it."""
    parameter = re.search(r"--name '[^']*?(\w+)'", fault)
    return parameter[1] if parameter else fault


def _calls(folder: Path, about: Mapping[str, Any]) -> tuple[Call, ...]:
    path = folder / "topology.csv.gz"
    path = path if path.exists() else _baseline(folder, about) / "topology.csv.gz"
    return tuple(Call(*edge) for edge in sorted({(row["caller"], row["callee"]) for row in _rows(path)}))


def _points(path: Path, shift: float = 0.0) -> dict[tuple[str, Signal], dict[float, float]]:
    points: dict[tuple[str, Signal], dict[float, float]] = defaultdict(dict)
    for row in _rows(path):
        known = SIGNALS.get(row["metric"])
        if known is None or not row["value"]:
            continue
        signal, factor = known
        value = float(row["value"]) * factor + (1.0 if factor < 0 else 0.0)
        points[row["service"], signal][float(row["unix_s"]) + shift] = value
    return points


def _series(folder: Path, about: Mapping[str, Any]) -> tuple[Series, ...]:
    """The metrics of a case after those of normal traffic, which are moved by whole days to just before it."""
    points = _points(folder / "metrics.csv.gz")
    first = min((time for series in points.values() for time in series), default=0.0)
    before = _points(_baseline(folder, about) / "metrics_baseline.csv.gz")
    last = max((time for series in before.values() for time in series), default=0.0)
    shift = -DAY * np.ceil((last - first) / DAY)
    for key, values in before.items():
        points[key] = {time + shift: value for time, value in values.items()} | points.get(key, {})
    return tuple(
        Series(service, signal, np.array(sorted(values)), np.array([values[time] for time in sorted(values)]))
        for (service, signal), values in sorted(points.items())
    )


def _spans(path: Path) -> dict[str, list[Span]]:
    spans: dict[str, list[Span]] = defaultdict(list)
    for row in _rows(path):
        spans[row["trace_id"]].append(
            Span(
                row["span_id"],
                row["parent_id"] or None,
                row["service"],
                row["operation"],
                SpanKind.UNSPECIFIED,
                SpanStatus.UNSET,
                int(row["start_unix_ns"]),
                int(row["end_unix_ns"]),
            )
        )
    return spans


@dataclass(frozen=True, slots=True)
class _Normal:
    """The traces of normal traffic, which may have been recorded after the incident: moved to before it.

    What belongs to them, by its trace or its time, moves along.
    """

    traces: frozenset[str]
    first: float
    last: float
    shift: float

    def moved(self, seconds: float, trace_id: str) -> float:
        belongs = trace_id in self.traces or self.first <= seconds <= self.last
        return seconds + self.shift if belongs else seconds


def _normal(spans: Mapping[str, list[Span]], noticed_at: float) -> _Normal:
    starts = [min(span.start_ns for span in trace) / NANOSECONDS for trace in spans.values()]
    first, last = min(starts, default=0.0), max(starts, default=0.0)
    shift = float(np.floor((noticed_at - NORMAL_BEFORE_SECONDS - last) / BUCKET_SECONDS) * BUCKET_SECONDS)
    return _Normal(frozenset(spans), first, last, shift)


def _moved(span: Span, seconds: float) -> Span:
    shift_ns = int(seconds) * NANOSECONDS
    return replace(span, start_ns=span.start_ns + shift_ns, end_ns=span.end_ns + shift_ns)


def _with_traces_and_logs(evidence: Evidence, folder: Path) -> Evidence:
    before = _spans(folder / "spans_baseline.csv.gz")
    normal = _normal(before, evidence.noticed_at)
    spans = _spans(folder / "spans.csv.gz")
    for id, trace in before.items():
        spans[id] = [_moved(span, normal.shift) for span in trace]
    lines = []
    for row in _rows(folder / "logs.csv.gz"):
        seconds = int(row["unix_ns"]) / NANOSECONDS if row["unix_ns"].isdigit() else 0.0
        seconds = normal.moved(seconds, row["trace_id"])
        if evidence.noticed_at - HOUR < seconds < evidence.noticed_at + HOUR:
            lines.append((seconds, row["service"], row["line"], row["trace_id"]))
    evidence, linked = _with_logs(evidence, sorted(lines))
    return replace(evidence, traces=digest(spans.items(), linked) if spans else None)


def _with_logs(
    evidence: Evidence, lines: list[tuple[float, str, str, str]]
) -> tuple[Evidence, dict[str, list[LinkedLine]]]:
    """The templates of lines, counted in the buckets in which any were seen, and those that belong to traces."""
    linked: dict[str, list[LinkedLine]] = defaultdict(list)
    if not lines:
        return evidence, linked
    templates: dict[str, LogTemplates] = defaultdict(
        lambda: LogTemplates(bucket_seconds=BUCKET_SECONDS, similar=SIMILAR_LINES)
    )
    found = []
    for seconds, service, line, trace_id in lines:
        template = templates[service].add(datetime.fromtimestamp(seconds, UTC), line, level_of(line, {}))
        found.append((template, seconds, service, line, trace_id))
    for each in templates.values():
        each.unite_moved()
    for first, seconds, service, line, trace_id in found:
        template = first.latest
        span = _SPAN_ID.search(line)
        at_ns = int(seconds * NANOSECONDS)
        linked[trace_id].append(LinkedLine(service, template.id, at_ns, span[1].lower() if span else None))
    buckets = sorted({int(seconds) // BUCKET_SECONDS * BUCKET_SECONDS for seconds, *_ in lines})
    patterns = tuple(
        LogPattern(
            service,
            template.id,
            template.text,
            template.level,
            np.array([template.counts.get(bucket, 0) for bucket in buckets], dtype=np.int64),
            template.sample,
            template.sample_at.timestamp(),
        )
        for service in sorted(templates)
        for template in templates[service]
    )
    evidence = replace(
        evidence,
        log_times=np.array(buckets, dtype=np.float64),
        log_bucket_seconds=float(BUCKET_SECONDS),
        patterns=patterns,
    )
    return evidence, linked
