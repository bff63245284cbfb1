"""What services have logged so far, which is what tells rules of kind LOG_NOVELTY what is new.

It is kept in Postgres, so that a server that starts, or takes over, knows what the one before did. Whoever evaluates a
rule has it in memory as well, and reads only what another has written meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, delete, text

from db.database import Transaction
from db.detection import READ_LOG_BASELINES_SQL, READ_LOG_TEMPLATES_SQL, WRITE_LOG_BASELINES_SQL, log_baselines
from db.recordsets import as_rows
from domain.telemetry import LogLevel
from domain.text import UNSTORABLE
from engines.log_templates import LogTemplate, LogTemplates

KEPT_FOR: Final = timedelta(days=30)
"""For how long a kind of lines is known that was not logged again."""

MOST_TEMPLATES: Final = 300
"""How many kinds of lines are known of one service to one rule; what was not logged for the longest time gives way."""

_SERVICES_AT_A_TIME: Final = 50
_TEMPLATES_AT_A_TIME: Final = 5_000


@dataclass(frozen=True, slots=True)
class LearntLogs:
    """What one reading of a service's logs has taught: rows to write, and ids of templates that are forgotten."""

    since: datetime
    until: datetime
    templates: Sequence[Mapping[str, Any]]
    forgotten: Sequence[str]


@dataclass(slots=True)
class LogBaseline:
    """What one service has logged, up to `until`; what was there at `since` is not new."""

    since: datetime
    until: datetime
    templates: LogTemplates = field(default_factory=lambda: LogTemplates(most=MOST_TEMPLATES))
    _found: dict[str, datetime] = field(default_factory=dict)
    _written: set[str] = field(default_factory=set)

    def learn(self, lines: Iterable[tuple[datetime, str, LogLevel]], *, until: datetime) -> LearntLogs:
        """Know these lines as well, the oldest first, which is all that was logged until then.

        What is among them for the first time counts as found then: what began while nobody looked is new when somebody
        does.
        """
        before = {each.id: each.first_seen_at for each in self.templates}
        touched = [self.templates.add(time, UNSTORABLE.sub("\ufffd", line), level) for time, line, level in lines]
        self.templates.unite_moved()
        self.templates.forget_before(until - KEPT_FOR)
        now = {each.id: each for each in self.templates}
        for id, template in now.items():
            if id not in before:
                if self.until >= self.since and template.first_seen_at >= self.until:
                    self._found[id] = until
            elif template.first_seen_at < before[id]:  # It has taken over one that was known earlier.
                self._found.pop(id, None)
        self._found = {id: at for id, at in self._found.items() if id in now}
        self.until = until
        changed = {template.latest.id for template in touched} & now.keys()
        forgotten = self._written - now.keys()
        self._written = {*now}
        rows = [{**_row(now[id]), "found_at": self._found.get(id)} for id in sorted(changed)]
        return LearntLogs(self.since, until, rows, sorted(forgotten))

    def restore(self, template: LogTemplate, found_at: datetime | None) -> None:
        """Know a template that was written down, and when it was found where it was new then."""
        self.templates.restore(template)
        self._written.add(template.id)
        if found_at is not None:
            self._found[template.id] = found_at

    def new(self, since: datetime) -> list[LogTemplate]:
        """The kinds of lines that were found since then, the most frequent first."""
        return [each for each in self.templates if (at := self._found.get(each.id)) is not None and at >= since]


async def current_baselines(
    tx: Transaction, rule_id: UUID, known: Mapping[UUID, LogBaseline]
) -> dict[UUID, LogBaseline]:
    """What is known of the logs of services, by service: what `known` is, where that is what was written last."""
    baselines: dict[UUID, LogBaseline] = {}
    outdated: list[UUID] = []
    for row in await tx.execute(text(READ_LOG_BASELINES_SQL), {"rule_id": rule_id}):
        mine = known.get(row.service_id)
        if mine is not None and mine.until == row.until:
            baselines[row.service_id] = mine
        else:
            baselines[row.service_id] = LogBaseline(row.since, row.until)
            outdated.append(row.service_id)
    for first in range(0, len(outdated), _SERVICES_AT_A_TIME):
        some = {"rule_id": rule_id, "service_ids": outdated[first : first + _SERVICES_AT_A_TIME]}
        for template in (await tx.execute(text(READ_LOG_TEMPLATES_SQL), some)).mappings():
            baselines[template["service_id"]].restore(_template(template), template["found_at"])
    return baselines


async def write_baselines(tx: Transaction, rule_id: UUID, learnt: Mapping[UUID, LearntLogs]) -> None:
    """Keep what was learnt, by service: in one statement, unless it is very much."""
    batch: dict[UUID, LearntLogs] = {}
    size = 0
    for service_id, each in learnt.items():
        if size + len(each.templates) > _TEMPLATES_AT_A_TIME:
            await _write(tx, rule_id, batch)
            batch, size = {}, 0
        batch[service_id] = each
        size += len(each.templates)
    if batch:
        await _write(tx, rule_id, batch)


async def forget_baselines(tx: Transaction, rule_id: UUID) -> None:
    """Know nothing any more of what services have logged, because a rule looks at other lines now."""
    await tx.execute(delete(log_baselines).where(log_baselines.c.rule_id == rule_id))


async def _write(tx: Transaction, rule_id: UUID, learnt: Mapping[UUID, LearntLogs]) -> None:
    baselines = [{"service_id": id, "since": each.since, "until": each.until} for id, each in learnt.items()]
    templates = [{"service_id": id, **row} for id, each in learnt.items() for row in each.templates]
    forgotten = [{"service_id": id, "id": gone} for id, each in learnt.items() for gone in each.forgotten]
    values = {"baselines": as_rows(baselines), "templates": as_rows(templates), "forgotten": as_rows(forgotten)}
    await tx.execute(text(WRITE_LOG_BASELINES_SQL), {"rule_id": rule_id, **values})


def _row(template: LogTemplate) -> dict[str, Any]:
    _, *path = template.path
    return {
        "id": template.id,
        "level": template.level,
        "path": path,
        "tokens": [*template.tokens],
        "first_seen_at": template.first_seen_at,
        "last_seen_at": template.last_seen_at,
        "count": template.count,
        "has_moved": template.has_moved,
    }


def _template(row: RowMapping) -> LogTemplate:
    level = LogLevel(row["level"])
    return LogTemplate(
        id=row["id"],
        level=level,
        tokens=row["tokens"],
        sample="".join(row["tokens"]),
        sample_at=row["first_seen_at"],
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        count=row["count"],
        path=(level, *row["path"]),
        has_moved=row["has_moved"],
    )
