"""A local server that keeps lines and answers Loki's range queries, readiness and live tails as Loki does."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

Labels = dict[str, str]
_MATCHER = re.compile(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"')
_CONTAINS = re.compile(r'\|= "((?:[^"\\]|\\.)*)"')
_COUNTED = re.compile(r"sum by \(([^)]*)\) \(count_over_time\((.*)\[(\d+)s\]\)\)")
_LEVELS = re.compile(r'\| detected_level=~"((?:[^"\\]|\\.)*)"')


@dataclass
class LocalLoki:
    """Lines go in through `lines`; `asked` is every request, as its path and parameters.

    `refusal` and `tail_refusal` answer instead where a test sets them: a status and Loki's words. Without `has_sockets`
    tails are refused as by a proxy that knows no WebSocket.
    """

    url: str = ""
    most_lines: int = 5000
    lines: list[tuple[int, Labels, str]] = field(default_factory=list)
    label_values: dict[str, list[str]] = field(default_factory=dict)
    patterns: list[object] | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    tail_refusal: tuple[int, str] | None = None
    has_sockets: bool = True
    hangs: bool = False
    tails: dict[ServerConnection, str] = field(default_factory=dict)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def asked_for(self, path: str) -> list[dict[str, str]]:
        """The parameters of every request to a path."""
        return [parameters for asked, parameters in self.asked if asked.endswith(path)]

    async def write(
        self, time_ns: int, labels: Labels, line: str, *, dropped: int = 0, metadata: Labels | None = None
    ) -> None:
        """Add a line, and tell it, without its structured metadata, to those who tail its stream."""
        self.lines.append((time_ns, {**labels, **(metadata or {})}, line))
        frame: dict[str, object] = {"streams": [{"stream": labels, "values": [[str(time_ns), line]]}]}
        if dropped:
            frame["dropped_entries"] = [{"timestamp": str(time_ns), "labels": labels}] * dropped
        for socket, query in [*self.tails.items()]:
            if _selects(query)(labels, line):
                await socket.send(json.dumps(frame))

    async def hang_up(self) -> None:
        """Close every tail, as a restart does."""
        for socket in [*self.tails]:
            await socket.close(1001)

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The HTTP answer, or None to go on to a tail."""
        url = urlsplit(request.path)
        parameters = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.asked.append((url.path, parameters))
        if self.hangs:
            await self.closing.wait()
        refusal = self.tail_refusal if url.path.endswith("/tail") and self.tail_refusal else self.refusal
        if refusal is not None:
            return _answer(refusal[0], refusal[1].encode(), "text/plain; charset=utf-8")
        if url.path.endswith("/tail"):
            return None if self.has_sockets else _answer(426, b"<html>Upgrade required</html>", "text/html")
        return self._http_answer(url.path, parameters)

    def _http_answer(self, path: str, parameters: dict[str, str]) -> Response:
        if path == "/ready":
            return _answer(200, b"ready\n", "text/plain")
        if path.endswith("/buildinfo"):
            return _answer(200, b'{"version":"3.5.0","revision":"abc"}', "application/json")
        if path.endswith("/query_range") and (counted := _COUNTED.fullmatch(parameters["query"])) is not None:
            return _data({"resultType": "matrix", "result": self._counts(parameters, counted)})
        if path.endswith("/query_range"):
            limit = int(parameters["limit"])
            if limit > self.most_lines:
                words = "max entries limit per query exceeded, limit > max_entries_limit_per_query"
                return _answer(400, f"{words} ({limit} > {self.most_lines})".encode(), "text/plain")
            return _data({"resultType": "streams", "result": self._streams(parameters, limit)})
        if (found := re.fullmatch(r".*/label/(\w+)/values", path)) is not None:
            return _data(self.label_values.get(found[1], []))
        if path.endswith("/labels"):
            return _data(sorted(self.label_values))
        if path.endswith("/patterns") and self.patterns is not None:
            return _data(self.patterns)
        return _answer(404, b"404 page not found\n", "text/plain")

    def _streams(self, parameters: dict[str, str], limit: int) -> list[object]:
        selects = _selects(parameters["query"])
        start, end = int(parameters["start"]), int(parameters["end"])
        found = [each for each in self.lines if start <= each[0] < end and selects(each[1], each[2])]
        found.sort(key=lambda each: each[0], reverse=parameters.get("direction") != "forward")
        streams: dict[str, dict[str, object]] = {}
        for time_ns, labels, line in found[:limit]:
            stream = streams.setdefault(json.dumps(labels, sort_keys=True), {"stream": labels, "values": []})
            values = stream["values"]
            assert isinstance(values, list)
            values.append([str(time_ns), line])
        return [*streams.values()]

    def _counts(self, parameters: dict[str, str], counted: re.Match[str]) -> list[object]:
        """How many lines there were in the window before each step, by labels."""
        selects, names = _selects(counted[2]), counted[1].split(", ")
        start, end = int(parameters["start"]) // 10**9, int(parameters["end"]) // 10**9
        window = int(counted[3])
        counts: dict[str, dict[int, int]] = {}
        for time_ns, labels, line in self.lines:
            at = -(-(time_ns // 10**9 + 1 - start) // window) * window + start
            if start <= at <= end and selects(labels, line):
                kept = json.dumps({name: labels[name] for name in names if name in labels})
                mine = counts.setdefault(kept, {})
                mine[at] = mine.get(at, 0) + 1
        return [
            {"metric": json.loads(kept), "values": [[at, str(count)] for at, count in sorted(mine.items())]}
            for kept, mine in counts.items()
        ]

    async def tail(self, socket: ServerConnection) -> None:
        """Tell what there is since the wanted start, then whatever `write` adds."""
        assert socket.request is not None
        parameters = {name: values[-1] for name, values in parse_qs(urlsplit(socket.request.path).query).items()}
        history = {**parameters, "end": str(2**62), "direction": "forward"}
        streams = self._streams(history, int(parameters.get("limit", "100")))
        if streams:
            await socket.send(json.dumps({"streams": streams}))
        self.tails[socket] = parameters["query"]
        try:
            await socket.wait_closed()
        finally:
            del self.tails[socket]


@asynccontextmanager
async def local_loki() -> AsyncIterator[LocalLoki]:
    """Serve on a free port of 127.0.0.1."""
    loki = LocalLoki()
    async with serve(loki.tail, "127.0.0.1", 0, process_request=loki.answer, close_timeout=0.1) as server:
        host, port = next(iter(server.sockets)).getsockname()
        loki.url = f"http://{host}:{port}"
        try:
            yield loki
        finally:
            loki.closing.set()


def _selects(query: str) -> Callable[[Labels, str], bool]:
    """Which lines a query selects: label matchers, texts that lines contain, and a pattern for the level."""
    head = query[: query.index("}")]
    matchers = [(name, operator, json.loads(f'"{value}"')) for name, operator, value in _MATCHER.findall(head)]
    texts = [json.loads(f'"{text}"') for text in _CONTAINS.findall(query)]
    levels = [json.loads(f'"{pattern}"') for pattern in _LEVELS.findall(query)]

    def selects(labels: Labels, line: str) -> bool:
        return (
            all(
                labels.get(name, "") == value if operator == "=" else re.fullmatch(value, labels.get(name, ""))
                for name, operator, value in matchers
            )
            and all(text in line for text in texts)
            and all(re.fullmatch(pattern, labels.get("detected_level", "")) for pattern in levels)
        )

    return selects


def _data(data: object) -> Response:
    return _answer(200, json.dumps({"status": "success", "data": data}).encode(), "application/json")


def _answer(status: int, body: bytes, content_type: str) -> Response:
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, "Status", headers, body)
