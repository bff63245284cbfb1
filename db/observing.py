"""Who wants to know what becomes of statements: metrics and traces, which live further up."""

from time import perf_counter
from typing import Any, Final, Protocol

from asyncpg.connection import LoggedQuery
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext

WRITES: Final = "write"
READS: Final = "read"
REPLICA: Final = "replica"
RELAY: Final = "relay"
EVENT_LOG: Final = "event_log"
SLO_EVALUATION: Final = "slo_evaluation"


class Observer(Protocol):
    """Told of every statement, in the task that asked for it. Must be quick, and never raise."""

    def statement_ended(self, pool: str, sql: str, seconds: float, error: BaseException | None) -> None:
        """A statement took so long, and failed by an `error`. `sql` holds no bound values."""
        ...

    def transaction_retried(self) -> None:
        """Postgres ended a transaction in favour of another, and it is done again."""
        ...


class Nobody(Observer):
    """An observer that does not care."""

    def statement_ended(self, pool: str, sql: str, seconds: float, error: BaseException | None) -> None: ...
    def transaction_retried(self) -> None: ...


def watch(engine: Engine, observer: Observer) -> None:
    """Tell of what SQLAlchemy runs."""

    def before(connection: Connection, *_: Any) -> None:
        connection.info["began"] = perf_counter()

    def after(connection: Connection, _cursor: Any, sql: str, *_: Any) -> None:
        observer.statement_ended(WRITES, sql, perf_counter() - connection.info["began"], None)

    def failed(context: ExceptionContext) -> None:
        if context.statement is not None and context.connection is not None:
            seconds = perf_counter() - context.connection.info.get("began", perf_counter())
            observer.statement_ended(WRITES, context.statement, seconds, context.original_exception)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


def tell_of(observer: Observer, pool: str, query: LoggedQuery) -> None:
    """Tell of what the driver has logged."""
    observer.statement_ended(pool, query.query, query.elapsed, query.exception)
