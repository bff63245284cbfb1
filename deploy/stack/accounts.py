"""Who signs in to a stack that wants everybody to: its first admin, and those that are no people."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from deploy.stack.programs import ROOT
from deploy.stack.running import CannotStart, Process, environment

ADMIN: Final = "admin@localhost"
SHOP_SCOPES: Final = ("read", "catalog:write", "slos:write")
TRIAL_SCOPES: Final = ("read", "incidents:write")
_EXPIRES_IN_DAYS: Final = 30
_COMMAND_SECONDS: Final = 60.0


def first_password(backend: Process) -> str | None:
    """The password of the admin whom the server has added as it started, or None where it has started before."""
    said = re.search(rf"Sign in as {re.escape(ADMIN)} with the password (\S+)", backend.text())
    return None if said is None else said[1]


async def make_token(
    command: str, name: str, scopes: Sequence[str], *, options: Sequence[str], settings: Mapping[str, str]
) -> str:
    """An API token of the admin's, made as operators make one. `options` say which database. Raises CannotStart."""
    narrowed = [part for scope in scopes for part in ("--scope", scope)]
    expiring = ("--expires-in-days", str(_EXPIRES_IN_DAYS))
    process = await asyncio.create_subprocess_exec(
        *(command, "token", "create", name, "--user", ADMIN, *narrowed, *expiring, *options),
        cwd=ROOT,
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_COMMAND_SECONDS):
            output, problems = await process.communicate()
    except TimeoutError:
        raise CannotStart(f"The token {name} is not made after {_COMMAND_SECONDS:.0f} s.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if process.returncode != 0:
        raise CannotStart(f"The token {name} of {ADMIN} cannot be made:\n{problems.decode(errors='replace').strip()}")
    return output.decode().strip()
