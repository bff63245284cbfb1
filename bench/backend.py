"""A telemetry backend for benchmarks: it says what it is told to, as late as it is told to, or never."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Backend:
    """Change how it behaves at any time. `calls` counts what it was asked."""

    body: bytes
    delay_seconds: float = 0.0
    is_hanging: bool = False
    calls: int = 0
    url: str = ""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it is closed."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, _, length = head.partition(b"\r\ncontent-length:")
                await reader.readexactly(int(length.partition(b"\r\n")[0] or 0))
                self.calls += 1
                if self.is_hanging:
                    await reader.read()  # until the other side gives up
                    return
                await asyncio.sleep(self.delay_seconds)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % len(self.body) + self.body)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the other side has gone, or the benchmark is over
        finally:
            writer.close()


@contextlib.contextmanager
def backend(body: bytes, *, delay_seconds: float = 0.0) -> Iterator[Backend]:
    """Serve in a thread of its own, on a free port."""
    served = Backend(body, delay_seconds)
    loop = asyncio.new_event_loop()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(served.converse, "127.0.0.1", 0)

    async def end(server: asyncio.Server) -> None:
        server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    served.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield served
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
