"""Fingerprints of alerts: what tells one from another."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from domain.limits import KEY_CHARACTERS

_OFFSET: Final = 14_695_981_039_346_656_037
_PRIME: Final = 1_099_511_628_211
_MASK: Final = 2**64 - 1
_SEPARATOR: Final = b"\xff"


def fingerprint(labels: Mapping[str, str]) -> str:
    """The fingerprint that Prometheus and Alertmanager give to labels: 16 hexadecimal digits.

    FNV-1a, 64 bits, over the names in order and their values, a byte 255 after each (prometheus/common,
    `model.LabelSet.Fingerprint`; labels with empty values count).
    """
    text = b"".join(
        part.encode("utf-8", "surrogatepass") + _SEPARATOR for name in sorted(labels) for part in (name, labels[name])
    )
    digest = _OFFSET
    for byte in text:
        digest = ((digest ^ byte) * _PRIME) & _MASK
    return f"{digest:016x}"


def fitting(key: str) -> str:
    """A key that somebody else made, as it is where it fits a column, else its digest."""
    return key if len(key) <= KEY_CHARACTERS else sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
