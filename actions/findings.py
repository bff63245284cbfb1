"""What the correlation engine found, as rows: with the query that shows it, what was seen, and where to look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson

from domain.correlation import CorrelationKind
from domain.explore import Explore
from domain.limits import QUERY_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS
from domain.text import clipped
from engines.correlation.evidence import NO_SOURCE, Evidence, Source
from engines.correlation.findings import Finding, IncidentLink, ScoreComponent
from engines.correlation.record import digest

_SAMPLE_BYTES: Final = 16_000


class Sightings:
    """The evidence of a run, by the queries that it was seen with."""

    def __init__(self, evidence: Evidence) -> None:
        self._seen: dict[tuple[Source, str], Any] = {}
        for series in evidence.series:
            self._seen[series.source, series.service] = series
        for pattern in evidence.patterns:
            self._seen[pattern.source, pattern.service] = pattern
        self._traces = evidence.traces

    def digest_of(self, finding: Finding) -> str:
        """What tells apart what was seen: two runs that saw the same have the same one."""
        seen = self._seen.get((finding.source, finding.service))
        if seen is None and finding.kind is CorrelationKind.TRACE:
            seen = self._traces
        return digest(_written(finding if seen is None else seen))


def correlation_rows(
    findings: Sequence[Finding],
    ids: Mapping[str, UUID],
    *,
    incident_id: UUID,
    analysis_id: UUID,
    services: Mapping[str, UUID],
    sightings: Sightings,
    explore: Explore,
) -> list[dict[str, Any]]:
    """Findings as rows of correlations, with these ids."""
    return [
        {
            "id": ids[finding.id],
            "incident_id": incident_id,
            "analysis_id": analysis_id,
            "kind": finding.kind,
            "name": clipped(_name(finding), TITLE_CHARACTERS) or None,
            "related_incident_id": _incident_of(finding),
            "service_id": services.get(finding.service),
            "summary": clipped(finding.summary, TEXT_CHARACTERS),
            "score": ratio(finding.strength),
            "score_components": [asdict(ScoreComponent("strength", 1.0, ratio(finding.strength), finding.summary))],
            "started_at": moment(finding.onset),
            "ended_at": moment(finding.end),
            "lag_seconds": finding.lag_seconds,
            "backend": finding.source.backend,
            "query": finding.source.query if 0 < len(finding.source.query) <= QUERY_CHARACTERS else None,
            "link": _link(finding.source, explore),
            "evidence": _evidence(finding, sightings),
        }
        for finding in findings
    ]


def link_rows(
    links: Sequence[IncidentLink], ids: Mapping[str, UUID], *, incident_id: UUID, analysis_id: UUID
) -> list[dict[str, Any]]:
    """Other incidents that seem to have the same cause, or share evidence, as rows of correlations."""
    return [
        {
            "id": ids[link.incident_id],
            "incident_id": incident_id,
            "analysis_id": analysis_id,
            "kind": CorrelationKind.INCIDENT,
            "name": None,
            "related_incident_id": UUID(link.incident_id),
            "service_id": None,
            "summary": clipped(link.explanation, TEXT_CHARACTERS),
            "score": ratio(link.score),
            "score_components": [asdict(component) for component in link.components],
            "started_at": None,
            "ended_at": None,
            "lag_seconds": None,
            "backend": None,
            "query": None,
            "link": None,
            "evidence": {"isSameCause": link.is_same_cause},
        }
        for link in links
    ]


def ratio(value: float) -> float:
    """A number from 0 to 1."""
    return min(1.0, max(0.0, float(value)))


def moment(seconds: float | None) -> datetime | None:
    """The time, in UTC, of so many seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _name(finding: Finding) -> str:
    """What it was seen in. Of a log the pattern's id, which ends the finding's: the same in every incident."""
    return finding.id.rpartition("/")[2] if finding.kind is CorrelationKind.LOG else finding.name


def _incident_of(finding: Finding) -> UUID | None:
    """The other incident that a finding is about."""
    return UUID(finding.id.split("/")[1]) if finding.kind is CorrelationKind.INCIDENT else None


def _written(value: Any) -> bytes:
    # Columns of tables are not contiguous, which orjson leaves to us.
    return orjson.dumps(value, default=np.ndarray.tolist, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def _link(source: Source, explore: Explore) -> str | None:
    if source.backend is None or not source.query or source.start is None or source.end is None:
        return None
    start, end = (datetime.fromtimestamp(at, UTC) for at in (source.start, source.end))
    return explore.link(source.backend, source.query, start, end)


def _evidence(finding: Finding, sightings: Sightings) -> dict[str, Any]:
    source = finding.source
    sample = finding.sample if len(_written(finding.sample)) <= _SAMPLE_BYTES else None
    seen: dict[str, Any] = {"cause": finding.cause, "severity": finding.severity, "sample": sample}
    seen["digest"] = sightings.digest_of(finding)
    if source != NO_SOURCE:
        seen |= {
            "instance": source.instance,
            "start": _text(source.start),
            "end": _text(source.end),
            "stepSeconds": source.step_seconds,
        }
    return seen


def _text(seconds: float | None) -> str | None:
    at = moment(seconds)
    return None if at is None else at.isoformat()
