"""LogQL text from untrusted parts: whatever a value holds, it stays one string within the query."""

import re
from collections.abc import Collection, Mapping
from typing import Literal

from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.prometheus import promql

Operator = Literal["=", "!=", "=~", "!~"]
LabelValues = str | Collection[str]

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REGEX_SYNTAX = re.compile(r"[\\.+*?()|\[\]{}^$]")  # what RE2 gives a meaning to


def quoted(value: str) -> str:
    """`value` as a LogQL string literal: Go's, like PromQL's. Raises TelemetryBadQuery for a lone surrogate."""
    try:
        return promql.quoted(value)
    except TelemetryBadQuery as error:
        raise TelemetryBadQuery("Loki", "A text holds a lone surrogate, which is no character.") from error


def label_name(name: str) -> str:
    """`name` itself, when Loki can have a label of this name. Raises TelemetryBadQuery."""
    if not _LABEL_NAME.fullmatch(name):
        raise TelemetryBadQuery(
            "Loki", f"{name!r} is not a label name. Use letters, digits and underscores, and start with no digit."
        )
    return name


def matcher(label: str, operator: Operator, value: str) -> str:
    """One label matcher, as in `app="checkout"`. For `=~` and `!~` the value is a regular expression (RE2)."""
    return f"{label_name(label)}{operator}{quoted(value)}"


def any_of(label: str, values: LabelValues) -> str:
    """The matcher for a label that has exactly this value, or one of these.

    Raises TelemetryBadQuery for no values and for an empty one: Loki would take every stream without the label.
    """
    alternatives = [values] if isinstance(values, str) else sorted(set(values))
    if not alternatives or "" in alternatives:
        raise TelemetryBadQuery("Loki", f"The selector's label {label!r} has an empty value. Give it one.")
    if len(alternatives) == 1:
        return matcher(label, "=", alternatives[0])
    return matcher(label, "=~", "|".join(map(literal, alternatives)))


def selector(labels: Mapping[str, LabelValues]) -> str:
    """The streams that carry all of `labels`, as in `{app="checkout"}`. Raises TelemetryBadQuery for no labels."""
    if not labels:
        raise TelemetryBadQuery(
            "Loki", "The service's Loki selector is empty and would match every stream. Give it a label."
        )
    return "{" + ",".join(any_of(label, labels[label]) for label in sorted(labels)) + "}"


def containing(text: str) -> str:
    """The filter for lines that contain `text` as it stands, upper and lower case told apart."""
    return f"|= {quoted(text)}"


def labelled(label: str, pattern: str) -> str:
    """The filter for lines whose label, or structured metadata, matches a regular expression (RE2) as a whole.

    A line without the label has the empty value.
    """
    return f"| {matcher(label, '=~', pattern)}"


def like(patterns: Collection[str]) -> str:
    """The filter for lines that look like one of these patterns, in which `<_>` stands for anything (Loki 3)."""
    return "|> " + " or ".join(map(quoted, patterns))


def literal(text: str) -> str:
    """The regular expression that matches exactly this text."""
    return _REGEX_SYNTAX.sub(r"\\\g<0>", text)
