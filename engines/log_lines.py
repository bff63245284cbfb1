"""What a line of a log says about itself: how bad it is, and which trace it belongs to."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from domain.telemetry import LogLevel

Labels = Mapping[str, str]

_WORDS = {
    LogLevel.TRACE: ("trace", "trc", "finest", "finer", "silly", "verbose"),
    LogLevel.DEBUG: ("debug", "dbg", "fine", "config"),
    LogLevel.INFO: ("info", "inf", "information", "informational", "notice", "log", "ok"),
    LogLevel.WARN: ("warn", "wrn", "warning"),
    LogLevel.ERROR: ("error", "err", "eror", "severe", "failure"),
    LogLevel.FATAL: ("fatal", "ftl", "critical", "crit", "panic", "emerg", "emergency", "alert", "dpanic"),
}
_LEVELS = {word: level for level, words in _WORDS.items() for word in words}
_LEVEL_KEYS = (
    "detected_level",
    "level",
    "severity",
    "severity_text",
    "severitytext",
    "lvl",
    "loglevel",
    "log_level",
    "log.level",
)
_TRACE_KEYS = ("trace_id", "traceid", "trace.id", "otel_trace_id", "oteltraceid", "trace-id", "dd.trace_id")

_FIELD = re.compile(
    r"""(?:^|[\s,{|\[(])["']?(?:log[._]?)?(?:level|lvl|severity(?:_?text)?)["']?\s*[=:]\s*["']?([A-Za-z]+|\d+)""",
    re.IGNORECASE,
)
_WORD = re.compile(  # at its place near the start: a level is capital, in brackets, or followed by a colon
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|FATAL|CRITICAL|CRIT|PANIC|EMERG)\b"
    r"|[\[<(](trace|debug|info|notice|warn|warning|error|err|fatal|critical|crit|panic|emerg|alert)[\]>)]"
    r"|^\W*(?:\S+\s+){0,3}?(trace|debug|info|warn|warning|error|fatal|panic|critical): "
    r"|^(Trace|Debug|Info|Warn|Warning|Error|Fatal|Panic|Critical|Traceback)\b"
)
_KLOG = re.compile(r"^([DIWEF])\d{4} \d\d:\d\d:\d\d")
_KLOG_LEVELS = dict(
    zip("DIWEF", (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR, LogLevel.FATAL), strict=True)
)
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")
_TRACE_FIELD = re.compile(
    r"""(?:otel[._]?)?trace[._-]?id["']?\s*[=:]\s*["']?([0-9a-f]{32})(?![0-9a-f])""", re.IGNORECASE
)
_TRACEPARENT = re.compile(r"(?<![0-9a-f])00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?![0-9a-f])")
_NO_TRACE = "0" * 32
_LOOKED_AT = 4_096
_LEVEL_NEAR_THE_START = 160


def level_of(line: str, labels: Labels) -> LogLevel:
    """How bad a line says it is: by structured metadata or labels, a field of JSON or logfmt, or the text itself."""
    for value in _by_key(labels, _LEVEL_KEYS):
        if (level := level_named(value)) is not LogLevel.UNKNOWN:
            return level
    if (number := labels.get("severity_number", "")) and (level := _otel_level(number)) is not LogLevel.UNKNOWN:
        return level
    head = line[:_LOOKED_AT]
    fields = _json_fields(line)
    if fields is not None:
        for value in _by_key(fields, _LEVEL_KEYS):
            if (level := level_named(value)) is not LogLevel.UNKNOWN:
                return level
    elif (found := _FIELD.search(head)) and (level := level_named(found[1])) is not LogLevel.UNKNOWN:
        return level
    return _level_in_text(head[:_LEVEL_NEAR_THE_START])


def level_named(word: Any) -> LogLevel:
    """The level that a word, or a number as bunyan and pino write it (10 trace ... 60 fatal), stands for."""
    text = str(word).strip().lower()
    if text.isdecimal():
        return _NUMBERS.get(int(text[:4]), LogLevel.UNKNOWN)
    return _LEVELS.get(text.rstrip("0123456789"), LogLevel.UNKNOWN)


def words_of(level: LogLevel) -> tuple[str, ...]:
    """The words, in small letters, that stand for a level."""
    return _WORDS.get(level, ("unknown",))


def trace_id_of(line: str, labels: Labels) -> str | None:
    """The trace that a line belongs to, 32 small hexadecimal digits (W3C Trace Context), where it names one."""
    for value in _by_key(labels, _TRACE_KEYS):
        if (trace_id := _trace_id(value)) is not None:
            return trace_id
    head = line[:_LOOKED_AT]
    for pattern in (_TRACE_FIELD, _TRACEPARENT):
        if (found := pattern.search(head)) and (trace_id := _trace_id(found[1])) is not None:
            return trace_id
    return None


_NUMBERS = dict(
    zip(
        (10, 20, 30, 40, 50, 60),
        (LogLevel.TRACE, LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR, LogLevel.FATAL),
        strict=True,
    )
)


def _otel_level(number: str) -> LogLevel:
    """OpenTelemetry's severity numbers: 1 to 24, four to a level."""
    if not number.isdecimal() or not 1 <= int(number[:4]) <= 24:
        return LogLevel.UNKNOWN
    return [*_WORDS][(int(number[:4]) - 1) // 4]


def _by_key(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[Any]:
    """The values of the fields with these names, in the order of the names and whatever their case."""
    known = {name.lower(): value for name, value in fields.items()}
    for key in keys:
        if key in known:
            yield known[key]


def _json_fields(line: str) -> Mapping[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _level_in_text(head: str) -> LogLevel:
    if found := _WORD.search(head):
        word = next(word for word in found.groups() if word)
        return LogLevel.ERROR if word == "Traceback" else level_named(word)
    if found := _KLOG.match(head):
        return _KLOG_LEVELS[found[1]]
    return LogLevel.UNKNOWN


def _trace_id(value: Any) -> str | None:
    text = str(value)
    if not _TRACE_ID.fullmatch(text) or text == _NO_TRACE:
        return None
    return text.lower()
