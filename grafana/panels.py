"""Panels and dashboards in Grafana's JSON model, from what differs between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

PROMETHEUS: Final = {"type": "prometheus", "uid": "prometheus"}
LOKI: Final = {"type": "loki", "uid": "loki"}
TEMPO: Final = {"type": "tempo", "uid": "tempo"}
POSTGRES: Final = {"type": "grafana-postgresql-datasource", "uid": "postgres"}
SCHEMA_VERSION: Final = 41
_WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel shows. `queries` are pairs of a query and its legend."""

    title: str
    description: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    source: dict[str, str] = field(default_factory=lambda: PROMETHEUS)
    width: int = 8
    height: int = 8
    thresholds: tuple[tuple[float, str], ...] = ()
    stacked: bool = False
    exemplars: bool = False


def dashboard(uid: str, title: str, description: str, panels: Sequence[Panel], variables: Sequence[Any] = ()) -> Any:
    """A dashboard whose panels stand beside each other as long as there is room."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["reliability-studio"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "graphTooltip": 1,
        "templating": {"list": list(variables)},
        "annotations": {"list": []},
        "panels": [
            _panel(number, panel, x, y)
            for number, (panel, (x, y)) in enumerate(zip(panels, _places(panels), strict=True), start=1)
        ],
    }


def label_variable(name: str, query: str) -> dict[str, Any]:
    """A variable with the values of a label in Prometheus, all of them by default."""
    return {
        "name": name,
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _places(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    places, x, y, row = [], 0, 0, 0
    for panel in panels:
        if x + panel.width > _WIDTH:
            x, y, row = 0, y + row, 0
        places.append((x, y))
        x, row = x + panel.width, max(row, panel.height)
    return places


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": panel.source,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": [
            _target(panel, query, legend, chr(ord("A") + place)) for place, (query, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS.get(panel.kind, {}),
    }


_OPTIONS: Final[dict[str, Any]] = {
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value"},
    "logs": {"showTime": True, "wrapLogMessage": True, "sortOrder": "Descending"},
}


def _target(panel: Panel, query: str, legend: str, reference: str) -> dict[str, Any]:
    common = {"refId": reference, "datasource": panel.source}
    if panel.source is POSTGRES:
        shape = "time_series" if panel.kind == "timeseries" else "table"
        return {**common, "rawQuery": True, "editorMode": "code", "format": shape, "rawSql": query}
    if panel.source is TEMPO:
        return {**common, "queryType": "serviceMap" if panel.kind == "nodeGraph" else "traceql", "query": query}
    if panel.source is LOKI:
        return {**common, "expr": query, "queryType": "range"}
    is_moment = panel.kind in {"stat", "table"}
    return {
        **common,
        "expr": query,
        "legendFormat": legend or "__auto",
        "range": not is_moment,
        "instant": is_moment,
        "exemplar": panel.exemplars,
        **({"format": "table"} if panel.kind == "table" else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": color, "value": value} for value, color in panel.thresholds]
    drawn = {"fillOpacity": 15, "showPoints": "never", "stacking": {"mode": "normal" if panel.stacked else "none"}}
    return {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        **({"custom": drawn} if panel.kind == "timeseries" else {}),
    }
