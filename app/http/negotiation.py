"""Which media type a client sends and wants (RFC 9110, sections 8.3 and 12.5.1)."""

from functools import lru_cache
from typing import NamedTuple

from resolvers.incremental import IncrementalForm

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"
MULTIPART = "multipart/mixed"

_FORMS = {"deferspec=20220824": IncrementalForm.PATHS, "incrementalspec=v0.2": IncrementalForm.IDS}

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


def incremental_form(accept: bytes | None) -> IncrementalForm | None:
    """How a client wants an answer in parts, where it can read one and wants JSON no more than that.

    Who names no version of the format gets the newer one; who names one that we do not have gets no parts.
    """
    if accept is None or b"multipart/mixed" not in accept.lower():
        return None
    weights = _weights(accept)
    weight = weights.get(MULTIPART, 0.0)
    if weight <= 0 or weight < max(weights.get(JSON, 0.0), weights.get(GRAPHQL_RESPONSE, 0.0)):
        return None
    for entry in accept.decode("latin-1").lower().replace(" ", "").replace('"', "").split(","):
        media_type, *parameters = entry.split(";")
        if media_type == MULTIPART:
            versions = [each for each in parameters if each.startswith(("deferspec=", "incrementalspec="))]
            return _FORMS.get(versions[0]) if versions else IncrementalForm.IDS
    return None


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
    if any(range_.type == MULTIPART for range_ in ranges):
        # Whatever is not in parts is JSON: who reads the one can read the other.
        ranges.append(MediaRange("*/*", 0.001))
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
