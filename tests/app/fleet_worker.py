"""One of several processes of one server, for tests: `python -m tests.app.fleet_worker FOLDER NUMBER DATABASE_URL`.

It writes its URL to standard output, and serves until its standard input ends.
"""

import asyncio
import sys
from pathlib import Path

from app.asgi import application
from app.observability.fleet import Fleet
from app.server import Server, listen
from app.settings import Settings


async def serve(folder: Path, number: int, database_url: str) -> None:
    sockets = listen("127.0.0.1", 0)
    async with application(Settings(), database_url, with_workers=number == 0, fleet=Fleet(folder, number)) as app:
        server = Server(
            app,
            header_timeout_seconds=10,
            shutdown_timeout_seconds=3,
            certificate=None,
            on_started=lambda: print(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True),  # noqa: T201 # whoever started it reads this
            on_stopping=app.end_streams,
        )
        serving = asyncio.create_task(server.serve(sockets))
        await asyncio.to_thread(sys.stdin.read)
        server.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
