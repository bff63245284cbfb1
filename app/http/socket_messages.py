"""The messages of graphql-transport-ws, as a client may send them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.http.graphql import MOST_DEPTH, deeper_than
from resolvers.operations import OperationRequest

SUBPROTOCOL: Final = "graphql-transport-ws"

_MOST_ID_CHARACTERS = 255
_PROOFS: Final = frozenset({"authorization", "x-grafana-id"})


class Malformed(Exception):
    """A message that the protocol does not have; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ConnectionInit:
    """The client wants to begin. `headers` are what a browser would have sent as headers, if it could."""

    headers: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Ping:
    """The client wants a pong. `members` is what the pong has beside its type: the payload, if there is one."""

    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pong:
    """The client is there."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The client asks for an operation of any type."""

    id: str
    request: OperationRequest


@dataclass(frozen=True, slots=True)
class Complete:
    """The client wants no more of an operation."""

    id: str


ClientMessage = ConnectionInit | Ping | Pong | Subscribe | Complete


def parse_message(text: str) -> ClientMessage:
    """The message in a text frame. Raises Malformed."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed("The message is not JSON") from error
    if type(message) is not dict:
        raise Malformed("The message is not a JSON object")
    if deeper_than(message, MOST_DEPTH):
        raise Malformed(f"The message is nested more than {MOST_DEPTH} levels deep")
    match message.get("type"):
        case "connection_init":
            return ConnectionInit(_headers(_optional_object(message, "payload") or {}))
        case "ping":
            _optional_object(message, "payload")
            return Ping({"payload": message["payload"]} if "payload" in message else {})
        case "pong":
            _optional_object(message, "payload")
            return Pong()
        case "subscribe":
            return Subscribe(_id(message), _request(message.get("payload")))
        case "complete":
            return Complete(_id(message))
        case str() as unknown:
            raise Malformed(f"There is no message of type {unknown!r:.60} for a client to send")
    raise Malformed("The message has no type")


def _headers(payload: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The proof in a payload: `authorization` in any case, or inside of `headers`. Other members are left alone."""
    given = payload.get("headers")
    members = {**(given if type(given) is dict else {}), **payload}
    headers = {}
    for name, value in members.items():
        if name.lower() in _PROOFS and type(value) is str:
            headers[name.lower().encode()] = value.encode("utf-8", "replace")
    return headers


def _id(message: Mapping[str, Any]) -> str:
    id = message.get("id")
    if type(id) is not str or not id:
        raise Malformed("The id of an operation must be a string that is not empty")
    if len(id) > _MOST_ID_CHARACTERS:
        raise Malformed(f"The id of an operation has more than {_MOST_ID_CHARACTERS} characters")
    return id


def _request(payload: object) -> OperationRequest:
    if type(payload) is not dict:
        raise Malformed("The payload of subscribe must be an object")
    query, document_id = payload.get("query"), payload.get("documentId")
    if document_id is not None and type(document_id) is not str:
        raise Malformed("documentId must be a string or null")
    if type(query) is not str and (query is not None or document_id is None):
        raise Malformed("The payload of subscribe must have a query, which is a string")
    operation_name = payload.get("operationName")
    if operation_name is not None and type(operation_name) is not str:
        raise Malformed("operationName must be a string or null")
    variables = _optional_object(payload, "variables")
    extensions = _optional_object(payload, "extensions")
    return OperationRequest(query, operation_name or None, variables, extensions, document_id)


def _optional_object(parent: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = parent.get(name)
    if value is not None and type(value) is not dict:
        raise Malformed(f"{name} must be an object or null")
    return value
