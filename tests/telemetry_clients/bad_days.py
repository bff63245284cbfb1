"""What servers do on bad days: behaviours for `local_server`."""

import asyncio

from tests.telemetry_clients.local_server import Request, http_answer, reset

GOOD = http_answer(b'{"status":"success","data":[]}')


async def hang(_: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def trickle(_: Request, writer: asyncio.StreamWriter) -> None:
    """One byte a second: never silent for long, never done."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(1)


async def drip_headers(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Slow: yes\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


async def hang_up(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_at_once(_: Request, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def reset_within_the_body(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD[:-10])
    await writer.drain()
    await asyncio.sleep(0.05)  # or the reset would overtake the head; either way the answer is lost
    reset(writer)


async def break_off(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD[:-10])
    writer.close()


async def never_end(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()
