"""Values as OTLP has them, without what looks like a secret."""

from functools import lru_cache
from typing import Final

from domain.redaction import redact
from domain.tracing import Value

_KEPT_TEXTS: Final = 4_096
_LEAST_WHOLE: Final = -(2**63)
_MOST_WHOLE: Final = 2**63 - 1


def exported(value: Value) -> Value:
    """What is sent in the place of a value."""
    if isinstance(value, str):
        return exported_text(value)
    if isinstance(value, int):
        return value if _LEAST_WHOLE <= value <= _MOST_WHOLE else str(value)
    return value if isinstance(value, float) else [exported_text(text) for text in value]


# Most are the same again and again, and looking for secrets takes longer than everything else about a span.
@lru_cache(maxsize=_KEPT_TEXTS)
def exported_text(text: str) -> str:
    """What is sent in the place of a text. Raises ValueError for one that is no Unicode (half a pair of surrogates)."""
    text.encode()
    return redact(text)
