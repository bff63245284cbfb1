"""PromQL text from untrusted parts: whatever a value holds, it stays one string within the expression."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from telemetry_clients.errors import TelemetryBadQuery

Operator = Literal["=", "!=", "=~", "!~"]
LabelValues = str | Collection[str]

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_REGEX_SYNTAX = re.compile(r"[\\.+*?()|\[\]{}^$]")  # what RE2 gives a meaning to
_PLAIN = re.compile(r"[ !#-\[\]-~]*")  # Printable ASCII that needs no escaping: nearly every value.
_REPLACEMENT_CHARACTER = "\ufffd"


def quoted(value: str) -> str:
    """`value` as a PromQL string literal. Raises TelemetryBadQuery for a lone surrogate, which no label can hold."""
    if _PLAIN.fullmatch(value):
        return f'"{value}"'
    return '"' + "".join(map(_escaped, value)) + '"'


def label_name(name: str) -> str:
    """`name` itself, when Prometheus takes it unquoted. Raises TelemetryBadQuery."""
    if not _LABEL_NAME.fullmatch(name):
        raise TelemetryBadQuery(
            "Prometheus",
            f"{name!r} is not a label name. Use letters, digits and underscores, and start with no digit.",
        )
    return name


def is_label_name(name: str) -> bool:
    """Whether Prometheus takes it for a label's name, unquoted."""
    return _LABEL_NAME.fullmatch(name) is not None


def matcher(label: str, operator: Operator, value: str) -> str:
    """One label matcher, as in `service="checkout"`. For `=~` and `!~` the value is a regular expression (RE2)."""
    return f"{label_name(label)}{operator}{quoted(value)}"


def any_of(label: str, values: LabelValues) -> str:
    """The matcher for a label that has exactly this value, or one of these.

    Raises TelemetryBadQuery for no values and for an empty one: Prometheus would take every series without the label.
    """
    alternatives = [values] if isinstance(values, str) else sorted(set(values))
    if not alternatives or "" in alternatives:
        raise TelemetryBadQuery("Prometheus", f"The selector's label {label!r} has an empty value. Give it one.")
    if len(alternatives) == 1:
        return matcher(label, "=", alternatives[0])
    return matcher(label, "=~", one_of(alternatives))


def one_of(values: Iterable[str]) -> str:
    """The regular expression (RE2) that matches exactly these values."""
    return "|".join(_REGEX_SYNTAX.sub(r"\\\g<0>", value) for value in values)


def matchers(labels: Mapping[str, LabelValues]) -> tuple[str, ...]:
    """The matchers for series that carry all of `labels`, in the order of their names."""
    return tuple(any_of(label, labels[label]) for label in sorted(labels))


def selector(metric: str, *conditions: str) -> str:
    """The series of one metric that meet every condition, as in `up{job="api"}`. Raises TelemetryBadQuery."""
    if not _METRIC_NAME.fullmatch(metric):
        raise TelemetryBadQuery(
            "Prometheus",
            f"{metric!r} is not a metric name. Use letters, digits, underscores and colons, and start with no digit.",
        )
    return metric + "{" + ",".join(conditions) + "}"


def any_metric(*conditions: str) -> str:
    """The series of whichever metric that meet every condition, the metric's name perhaps among them."""
    return "{" + ",".join(conditions) + "}"


def duration(seconds: float) -> str:
    """A PromQL duration, at millisecond precision, as in `90s` or `1500ms`. Raises TelemetryBadQuery below 1 ms."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1:
        raise TelemetryBadQuery("Prometheus", f"{seconds} s is too short for a range. Use 1 ms or more.")
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character == "\n":
        return "\\n"
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise TelemetryBadQuery("Prometheus", "A label's value holds a lone surrogate, which is no character.")
    # Prometheus's lexer takes a literal U+FFFD for a sign of invalid UTF-8 and refuses it.
    if character.isprintable() and character != _REPLACEMENT_CHARACTER:
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
