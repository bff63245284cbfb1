"""A client of Loki.

`client.py` asks, `logql.py` writes the queries, `answers.py` and `refusals.py` read what comes back. `paging.py` reads
past the limit of one answer, `tail.py` follows new lines, `selectors.py` knows what Loki calls a service, and
`groups.py` which services can be asked for together.
"""

from telemetry_clients.loki.client import MOST_LINES, BuildInfo, Loki, NewLine

__all__ = ["MOST_LINES", "BuildInfo", "Loki", "NewLine"]
