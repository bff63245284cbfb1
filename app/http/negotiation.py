"""Which media type a client sends and wants (RFC 9110, sections 8.3 and 12.5.1)."""

from functools import lru_cache
from typing import NamedTuple

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"

_CACHED_CHARACTERS = 256  # Longer headers are parsed each time, so that nobody fills the cache with them.


class MediaRange(NamedTuple):
    """One entry of an Accept header: the type, which may be a wildcard, and its weight from 0 to 1."""

    type: str
    weight: float


def response_type(accept: bytes | None) -> str | None:
    """The media type to answer a GraphQL request in, or None when the client takes none that we have.

    A client that names neither type gets JSON, which every client of the past understands.
    """
    if not accept:
        return JSON
    if len(accept) > _CACHED_CHARACTERS:
        return _response_type(accept)
    return _cached_response_type(accept)


def wants_page(accept: bytes | None) -> bool:
    """Whether a browser is navigating here: it names HTML, and wants nothing of ours more."""
    if accept is None or b"text/html" not in accept.lower():
        return False
    weights = _weights(accept)
    page = weights.get(HTML, 0.0)
    return page > 0 and page >= max(weights.get(JSON, 0.0), weights.get(GRAPHQL_RESPONSE, 0.0))


def takes_events(accept: bytes | None) -> bool:
    """Whether a client can read an event stream: it names the type."""
    return accept is not None and b"event-stream" in accept and _weights(accept).get(EVENT_STREAM, 0.0) > 0


def prefers_events(accept: bytes | None) -> bool:
    """Whether a client wants an event stream for whatever it asks, rather than JSON where that is possible."""
    weights = _weights(accept or b"")
    return weights.get(EVENT_STREAM, 0.0) > max(weights.get(JSON, 0.0), weights.get(GRAPHQL_RESPONSE, 0.0))


def is_json(content_type: bytes) -> bool:
    """Whether a request's body is declared as JSON in UTF-8, which is assumed where no charset is named."""
    if len(content_type) > _CACHED_CHARACTERS:
        return False
    return _is_json(content_type)


def parse_accept(accept: bytes) -> list[MediaRange]:
    """The entries of an Accept header in their order; malformed ones, and other charsets than UTF-8, are left out."""
    ranges = []
    for entry in accept.decode("latin-1").lower().split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        weight = 1.0
        readable = "/" in media_type
        for parameter in parameters:
            name, _, value = (part.strip() for part in parameter.partition("="))
            if name == "q":
                weight = _weight(value)
            elif name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
                readable = False
        if readable and 0.0 <= weight <= 1.0:
            ranges.append(MediaRange(media_type, weight))
    return ranges


def _weights(accept: bytes) -> dict[str, float]:
    return dict(parse_accept(accept))


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def _response_type(accept: bytes) -> str | None:
    ranges = parse_accept(accept)
    named, plain = _preference(GRAPHQL_RESPONSE, ranges), _preference(JSON, ranges)
    if named[0] <= 0.0 and plain[0] <= 0.0:
        return None
    # Who names both types equally gets the one that tells more; a wildcard that covers both gets JSON.
    return GRAPHQL_RESPONSE if named > plain or (named == plain and named[1] == 2) else JSON


def _preference(media_type: str, ranges: list[MediaRange]) -> tuple[float, int]:
    """The weight that an Accept header gives to a type, from the most specific range that covers it, and how specific.

    2 stands for the type itself, 1 for `application/*`, 0 for `*/*`; the weight is 0 when nothing covers it.
    """
    weights = dict(ranges)
    for specificity, covering in ((2, media_type), (1, "application/*"), (0, "*/*")):
        if covering in weights:
            return weights[covering], specificity
    return 0.0, -1


_cached_response_type = lru_cache(maxsize=256)(_response_type)


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    media_type, *parameters = (part.strip() for part in content_type.decode("latin-1").lower().split(";"))
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            return False
    return media_type == JSON
