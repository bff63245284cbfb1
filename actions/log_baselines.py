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
    _written: set[str] = field(default_factory=set)

    def learn(self, lines: Iterable[tuple[str, LogLevel]], *, until: datetime) -> LearntLogs:
        """Know these lines as well, the oldest first, which is all that was logged until then.

        They count as logged at that time, so that what was logged while nobody looked is new when somebody does.
        """
        touched = [self.templates.add(until, UNSTORABLE.sub("\ufffd", line), level) for line, level in lines]
        self.templates.forget_before(until - KEPT_FOR)
        self.until = until
        now = {template.id: template for template in self.templates}
        changed = {template.latest.id for template in touched} & now.keys()
        forgotten = self._written - now.keys()
        self._written = {*now}
        return LearntLogs(self.since, until, [_row(now[id]) for id in sorted(changed)], sorted(forgotten))

    def restore(self, template: LogTemplate) -> None:
        """Know a template that was written down."""
        self.templates.restore(template)
        self._written.add(template.id)

    def new(self, since: datetime) -> list[LogTemplate]:
        """The kinds of lines that were logged for the first time since then, the most frequent first."""
        return [each for each in self.templates.since(since) if each.first_seen_at > self.since]


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
            baselines[template["service_id"]].restore(_template(template))
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
    )
