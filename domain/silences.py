"""Silences: for how long people may ask not to be told of alerts, and how a silence says which incident it is for.

Alertmanager keeps no more than a comment with a silence. So the comment begins with the incident's number, and ends
with a mark of the request that made it: whoever repeats the request finds the silence that the first one left, even
where nothing else of it was written down.
"""

import re
from datetime import timedelta
from hashlib import sha256
from typing import Final

from domain.errors import ValidationFailed

LONGEST: Final = timedelta(days=30)
_BEGINNING: Final = re.compile(r"INC-(\d+)(?::|$)")


def duration(seconds: object, *path: str) -> timedelta:
    """How long a silence lasts. Raises ValidationFailed."""
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 60 <= seconds <= LONGEST.total_seconds():
        raise ValidationFailed(
            f"A silence lasts from 60 seconds to {LONGEST.days} days ({int(LONGEST.total_seconds())} seconds)", path
        )
    return timedelta(seconds=seconds)


def comment_for(incident_number: int, text: str, mark: str | None) -> str:
    """The comment of a silence that is for an incident."""
    ending = f" {mark}" if mark else ""
    return f"INC-{incident_number}: {text}{ending}"


def incident_number(comment: str) -> int | None:
    """The number of the incident that a silence is for, if it says one."""
    found = _BEGINNING.match(comment)
    return int(found[1]) if found else None


def mark_of(requester: str, idempotency_key: str) -> str:
    """What tells a request from all others, in a comment."""
    digest = sha256("\0".join((requester, idempotency_key)).encode()).hexdigest()
    return f"[request {digest[:16]}]"
