"""A server in Prometheus' shape for benchmarks: it finds the marks of a query and answers one series for each.

Prints its address and serves until it is stopped.
"""

import asyncio
import re
from urllib.parse import parse_qs

import orjson
import uvloop

MARK = re.compile(r'"slo_id", "(\d+)([pt])"')
RECORDED = re.compile(r'\{sloth_id=~"([^"]*)"\}')
VALUES = {"p": "0.1", "t": "1000"}


def answer(path: str, form: dict[str, list[str]]) -> bytes:
    """The answer to a query."""
    expression = form["query"][0]
    labels = [({"slo_id": number + part}, VALUES[part]) for number, part in MARK.findall(expression)]
    for names in RECORDED.findall(expression):
        labels += [
            ({"__name__": "slo:sli_error:ratio_rate5m", "sloth_id": name}, "0.0001") for name in names.split("|")
        ]
    if path.endswith("query_range"):
        start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
        times = [start + step * n for n in range(int((end - start) / step) + 1)]
        result = [{"metric": metric, "values": [[time, value] for time in times]} for metric, value in labels]
        return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
    time = float(form["time"][0])
    result = [{"metric": metric, "value": [time, value]} for metric, value in labels]
    return orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        path = head.split(" ", 2)[1]
        length = int(re.search(r"(?i)content-length: (\d+)", head)[1])  # type: ignore[index] # every POST has one
        body = answer(path, parse_qs((await reader.readexactly(length)).decode()))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()


async def serve() -> None:
    """Serve until stopped."""
    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=2**24)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
