"""What a line says about itself."""

import pytest

from domain.telemetry import LogLevel
from engines.log_lines import level_of, trace_id_of

TRACE = "a748dbcfac619e630dde29a6baa4b71a"


@pytest.mark.parametrize(
    ("line", "labels", "level"),
    [
        ("anything", {"detected_level": "error"}, LogLevel.ERROR),
        ("level=error x", {"detected_level": "unknown"}, LogLevel.ERROR),
        ("anything", {"level": "WARN"}, LogLevel.WARN),
        ("anything", {"severity_text": "Information"}, LogLevel.INFO),
        ("anything", {"severity_number": "17"}, LogLevel.ERROR),
        ("anything", {"severity_number": "4"}, LogLevel.TRACE),
        ('{"level": "error", "msg": "info: no"}', {}, LogLevel.ERROR),
        ('{"msg": "level=info", "severity":"CRITICAL"}', {}, LogLevel.FATAL),
        ('{"level":50,"msg":"pino"}', {}, LogLevel.ERROR),
        ('{"log.level":"warn"}', {}, LogLevel.WARN),
        ('level=error msg="card processor timed out"', {}, LogLevel.ERROR),
        ("ts=1 lvl=dbug caller=x", {}, LogLevel.UNKNOWN),
        ('ts=1 lvl="debug" caller=x', {}, LogLevel.DEBUG),
        ("2026-11-23 10:00:00,123 ERROR [main] c.e.Shop - no", {}, LogLevel.ERROR),
        ("2026-11-23 10:00:00 [warn] something", {}, LogLevel.WARN),
        ("E1123 10:00:00.000000 1 main.go:1] no", {}, LogLevel.ERROR),
        ("panic: runtime error: invalid memory address\ngoroutine 1 [running]:", {}, LogLevel.FATAL),
        ("Traceback (most recent call last):", {}, LogLevel.ERROR),
        ("Error: cannot find module", {}, LogLevel.ERROR),
        ("GET /errors 200", {}, LogLevel.UNKNOWN),
        ("the information desk", {}, LogLevel.UNKNOWN),
        ("", {}, LogLevel.UNKNOWN),
        ("{not json level=warn", {}, LogLevel.WARN),
    ],
)
def test_the_level_is_found_where_it_is_said(line, labels, level):
    assert level_of(line, labels) is level


@pytest.mark.parametrize(
    ("line", "labels", "found"),
    [
        ("x", {"trace_id": TRACE}, TRACE),
        ("x", {"traceID": TRACE.upper()}, TRACE),
        (f"trace_id={TRACE} y", {}, TRACE),
        (f"traceID={TRACE}", {}, TRACE),
        (f'{{"level":"info","traceId":"{TRACE}"}}', {}, TRACE),
        (f'{{"trace.id": "{TRACE}"}}', {}, TRACE),
        (f"otelTraceID={TRACE}", {}, TRACE),
        (f"traceparent: 00-{TRACE}-e3c7ca9aedabddab-01", {}, TRACE),
        (f"x trace_id={TRACE}", {"trace_id": "none"}, TRACE),
        (f"trace_id={TRACE}0", {}, None),
        ("trace_id=" + "0" * 32, {}, None),
        (f"order={TRACE}", {}, None),
        ("trace_id=e3c7ca9aedabddab", {}, None),
    ],
)
def test_the_trace_is_found_where_it_is_named(line, labels, found):
    assert trace_id_of(line, labels) == found
