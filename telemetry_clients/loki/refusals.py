"""What Loki says when it says no, which is plain text, as errors of ours. Its words and positions are passed on."""

import re
from collections.abc import Mapping

import orjson

from telemetry_clients.errors import TelemetryBadQuery, TelemetryError, TelemetryLimited, TelemetryTimeout
from telemetry_clients.transport import Answer, Transport

_LONGEST_REASON = 500
_LIMITS = re.compile(
    r"exceeds the limit|limit exceeded|limit per query exceeded|maximum resolution|maximum of series|"
    r"too many|too large|too big|would read|rate limit|max(?:imum)? number of",
    re.IGNORECASE,
)
_TIMEOUTS = re.compile(r"deadline exceeded|timed out|timeout", re.IGNORECASE)
_POSITION = re.compile(r"parse error at line (\d+), col (\d+)")
_MOST_LINES = re.compile(r"max_entries_limit_per_query \(\d+ > (\d+)\)")
_LONGEST_RANGE = re.compile(r"query length: [^,]+, limit: ([0-9a-zµ.]+)")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[ywdhms])")
_UNIT_SECONDS = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}


def refusal(transport: Transport, answer: Answer) -> TelemetryError:
    """The error for an answer that is not a success."""
    reason = spoken_reason(answer.content_type, answer.body)
    if answer.status in (400, 413, 422) and reason:
        return refused_query(reason)
    if answer.status in (499, 500, 503, 504) and _TIMEOUTS.search(reason):
        return _gave_up(reason)
    if answer.status >= 500 and _LIMITS.search(reason):
        return TelemetryLimited("Loki", f"Loki refused the query as too large: {reason}. Ask for less.")
    return transport.refusal(answer, reason)


def stated_error(transport: Transport, answer: Answer, body: Mapping[object, object]) -> TelemetryError:
    """The error for a success whose `body` says that it is one: of the query, unless it says of what else."""
    reason = spoken_reason("application/json", answer.body) or "it does not say why"
    match body.get("errorType", "bad_data"):
        case "bad_data" | "execution":
            return refused_query(reason)
        case "timeout":
            return _gave_up(reason)
        case _:
            return transport.refusal(answer, reason)


def refused_query(reason: str) -> TelemetryError:
    """The error for a query, or a push, that Loki refuses with these words."""
    if _LIMITS.search(reason) and not reason.startswith("parse error"):
        return TelemetryLimited("Loki", f"Loki refused the query as too large: {reason}. Ask for less.")
    at = _POSITION.match(reason)
    if at is None:
        return TelemetryBadQuery("Loki", f"Loki refused the query: {reason}")
    # Loki counts the first line as 0 or 1, whichever part of it says so.
    return TelemetryBadQuery("Loki", f"Loki refused the query: {reason}", max(1, int(at[1])), int(at[2]))


def spoken_reason(content_type: str, body: bytes) -> str:
    """What an answer says for people: Loki's text, or the message of a gateway before it. Nothing of a proxy's page."""
    text = body[: 4 * _LONGEST_REASON].decode(errors="replace").strip()
    if "html" in content_type or text.startswith("<"):
        return ""
    if "json" in content_type:
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            return ""
        match said:
            case {"message": str(text)} | {"error": str(text)}:
                pass
            case _:
                return ""
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."


def most_lines(error: TelemetryError) -> int | None:
    """How many lines the server gives at once, where that is what was refused."""
    found = _MOST_LINES.search(error.message)
    return int(found[1]) if found else None


def longest_range_seconds(error: TelemetryError) -> float | None:
    """How long a range the server answers, where that is what was refused."""
    found = _LONGEST_RANGE.search(error.message)
    if not found:
        return None
    seconds = sum(float(amount) * _UNIT_SECONDS[unit] for amount, unit in _DURATION_PART.findall(found[1]))
    return seconds or None


def _gave_up(reason: str) -> TelemetryTimeout:
    return TelemetryTimeout("Loki", f"Loki gave up: {reason}. Ask for less, or allow more time.")
