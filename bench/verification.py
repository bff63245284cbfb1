"""Whether every contestant answers the same question with the same data, before anyone is timed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from bench.contestants import Server
from bench.documents import Document
from bench.load import Request, http_post


class AnswersDiffer(Exception):
    """Two contestants answer one query with different data."""


def verify(document: Document, servers: Sequence[Server]) -> dict[str, list[Request]]:
    """Ask everyone everything, compare, and return each contestant's requests by its name. Raises AnswersDiffer."""
    requests: dict[str, list[Request]] = {server.contestant.name: [] for server in servers}
    for variables in document.variables:
        expected: Any = None
        for server in servers:
            answer = server.answer(document, variables)
            data = orjson.loads(answer)["data"]
            data = _comparable(server.contestant.contract_shape(document, data))
            if expected is None:
                expected = data
            difference = _difference(expected, data, "data")
            if difference is not None:
                raise AnswersDiffer(
                    f"{document.name}: {servers[0].contestant.name} and {server.contestant.name} differ at {difference}"
                )
            contestant = server.contestant
            payload = http_post(server.port, server.path, contestant.body(document, variables), contestant.token)
            requests[contestant.name].append(Request(payload, len(answer)))
    return requests


def _comparable(value: Any, key: str = "") -> Any:
    """The same data with times as times, and with the services of an incident, which have no order, in one order."""
    if isinstance(value, dict):
        return {name: _comparable(item, name) for name, item in value.items()}
    if isinstance(value, list):
        items = [_comparable(item) for item in value]
        return sorted(items, key=lambda service: service["name"]) if key == "services" else items
    if isinstance(value, str) and key.endswith("At"):
        return datetime.fromisoformat(value)
    return value


def _difference(left: Any, right: Any, path: str) -> str | None:
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        pairs = [(f"{path}.{name}", left[name], right[name]) for name in left]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = [(f"{path}.{index}", *items) for index, items in enumerate(zip(left, right, strict=True))]
    else:
        return None if left == right else f"{path}: {left!r:.300} and {right!r:.300}"
    found = (_difference(one, other, place) for place, one, other in pairs)
    return next((difference for difference in found if difference is not None), None)
