"""TraceQL text from untrusted parts: whatever a value holds, it stays one string within the query."""

from collections.abc import Collection

from telemetry_clients.errors import TelemetryBadQuery


def quoted(value: str) -> str:
    """`value` as a TraceQL string, which is one of Go. Raises TelemetryBadQuery for a lone surrogate."""
    return '"' + "".join(map(_escaped, value)) + '"'


def duration(seconds: float) -> str:
    """A TraceQL duration, as in `1500ms`, to the microsecond. Raises TelemetryBadQuery for what is none."""
    if not 0 <= seconds < 1e9:
        raise TelemetryBadQuery("Tempo", f"{seconds} s is no duration of a trace. Use 0 or more seconds.")
    microseconds = round(seconds * 1_000_000)
    return f"{microseconds}us" if microseconds % 1000 else f"{microseconds // 1000}ms"


def spans_of(
    services: Collection[str],
    *,
    errors_only: bool = False,
    min_duration_seconds: float | None = None,
    max_duration_seconds: float | None = None,
) -> str:
    """The query for traces with spans of any of these services, by their `service.name`.

    With `errors_only` one of those spans has to have failed; the durations are those of whole traces.
    Equalities are used instead of a regular expression, which older versions of Tempo do not anchor.
    Raises TelemetryBadQuery for no services, and for a name that is empty.
    """
    names = sorted(set(services))
    if not names or "" in names:
        raise TelemetryBadQuery("Tempo", "The service's Tempo selector is empty. Give the service.name of its spans.")
    named = " || ".join(f"resource.service.name = {quoted(name)}" for name in names)
    conditions = [f"({named})" if len(names) > 1 else named]
    if errors_only:
        conditions.append("status = error")
    if min_duration_seconds is not None:
        conditions.append(f"traceDuration >= {duration(min_duration_seconds)}")
    if max_duration_seconds is not None:
        conditions.append(f"traceDuration <= {duration(max_duration_seconds)}")
    return "{ " + " && ".join(conditions) + " }"


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise TelemetryBadQuery("Tempo", "A value of the query holds a lone surrogate, which is no character.")
    # U+FFFD is how Go's lexers see invalid UTF-8, so it is not written literally.
    if character.isprintable() and code != 0xFFFD:
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
