"""The permissions that fields, mutations and routes ask for. Which of them asks for which is written beside it.

A scope stands for itself alone: that of writes does not include that of reads, and `admin` includes no other.
"""

from typing import Final

from domain.access import Permission, Role, TokenScope

ANYBODY: Final = Permission(Role.VIEWER, None)
"""Whoever is known."""

READ: Final = Permission(Role.VIEWER, TokenScope.READ)
READ_DELIVERIES: Final = Permission(Role.RESPONDER, TokenScope.READ)
"""What other systems told, as it came: senders put more into it than is meant for everybody."""

TELEMETRY_QUERY: Final = Permission(Role.VIEWER, TokenScope.TELEMETRY_QUERY)
"""Queries of the caller's own: they reach everything that a backend keeps, whichever service it is about."""

OWN_TOKENS: Final = Permission(Role.VIEWER, TokenScope.ADMIN)
"""Tokens of one's own. A token makes others only where it was made for that: else it would outlive its end."""

INCIDENTS_WRITE: Final = Permission(Role.RESPONDER, TokenScope.INCIDENTS_WRITE)
ALERTS_WRITE: Final = Permission(Role.RESPONDER, TokenScope.ALERTS_WRITE)
CATALOG_WRITE: Final = Permission(Role.RESPONDER, TokenScope.CATALOG_WRITE)
SLOS_WRITE: Final = Permission(Role.RESPONDER, TokenScope.SLOS_WRITE)
DETECTION_WRITE: Final = Permission(Role.RESPONDER, TokenScope.DETECTION_WRITE)
ADMINISTRATION: Final = Permission(Role.ADMIN, TokenScope.ADMIN)
