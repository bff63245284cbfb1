"""Links into Grafana's Explore, where a person sees the same query over the same time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

import orjson

from domain.limits import URL_CHARACTERS
from domain.telemetry import TelemetryBackend

_QUERIES: Final[Mapping[TelemetryBackend, tuple[str, Mapping[str, str]]]] = {
    TelemetryBackend.PROMETHEUS: ("expr", {"editorMode": "code"}),
    TelemetryBackend.LOKI: ("expr", {"editorMode": "code"}),
    TelemetryBackend.TEMPO: ("query", {"queryType": "traceql"}),
}


@dataclass(frozen=True, slots=True)
class Explore:
    """Where Grafana is, and what it calls its data sources. Without `url` there are no links."""

    url: str | None = None
    sources: Mapping[TelemetryBackend, str] = field(default_factory=dict)

    def link(self, backend: TelemetryBackend, query: str, start: datetime, end: datetime) -> str | None:
        """The page that shows a query; None where nobody said where that is, or the link would be too long."""
        uid = self.sources.get(backend)
        if self.url is None or uid is None:
            return None
        key, details = _QUERIES[backend]
        source = {"type": backend.value.lower(), "uid": uid}
        pane = {
            "datasource": uid,
            "queries": [{"refId": "A", "datasource": source, key: query, **details}],
            "range": {"from": _milliseconds(start), "to": _milliseconds(end)},
        }
        panes = quote(orjson.dumps({"evidence": pane}).decode(), safe="")
        link = f"{self.url.rstrip('/')}/explore?schemaVersion=1&orgId=1&panes={panes}"
        return link if len(link) <= URL_CHARACTERS else None


def _milliseconds(moment: datetime) -> str:
    return str(round(moment.timestamp() * 1000))
