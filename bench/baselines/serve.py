"""How the baselines in Python are served: one worker of uvicorn, with uvloop and httptools, without an access log."""

import argparse
from collections.abc import Callable
from typing import Any

import uvicorn


def serve(application: Callable[[str], Any]) -> None:
    """Serve `application(database_url)` as the command line says: `--port` and `--database-url`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database-url", required=True)
    arguments = parser.parse_args()
    uvicorn.run(
        application(arguments.database_url),
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
