"""Labels, numbers and selectors as they are written into rules."""

import re
from collections.abc import Mapping
from decimal import Decimal

_BRACES = re.compile(r"\{\{|\}\}")
_NOT_IN_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


class NotExpressible(Exception):
    """An objective that rules under these names cannot say. `message` tells why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def label_name(name: str) -> str:
    """A name that every Prometheus takes for a label: letters, digits and _."""
    plain = _NOT_IN_A_LABEL.sub("_", name)
    if plain.startswith("__"):
        plain = f"label{plain}"
    return f"_{plain}" if plain[:1].isdigit() or not plain else plain


def merged(*labels: Mapping[str, str]) -> dict[str, str]:
    """Labels by their names in order; the last one of a name counts, and what is empty is no label at all."""
    together: dict[str, str] = {}
    for some in labels:
        together |= {label_name(name): value for name, value in some.items()}
    return {name: together[name] for name in sorted(together) if together[name]}


def templates(*texts: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations of an alert, in which Prometheus puts values."""
    return {name: _template(value) for name, value in merged(*texts).items()}


def selector(metric: str, labels: Mapping[str, str]) -> str:
    """A selector of the series of a metric with these labels."""
    return f"{metric}{{{', '.join(f'{name}={quoted(value)}' for name, value in labels.items())}}}"


def quoted(text: str) -> str:
    """A text as PromQL has it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def number(value: Decimal) -> str:
    """An exact number, without an exponent, of at most as many digits as a float tells apart."""
    rounded = Decimal(f"{value:.17g}")
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _template(value: str) -> str:
    """A template; a text whose braces do not match is meant as it is."""
    opened = _BRACES.findall(value)
    if opened[::2] == ["{{"] * len(opened[::2]) and opened[1::2] == ["}}"] * len(opened[::2]):
        return value
    return value.replace("{{", '{{ "{{" }}')
