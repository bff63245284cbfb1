"""Where time goes: spans and the traces that they make up, in the words of OpenTelemetry and W3C Trace Context.

Whoever begins work asks a `Tracer` for its root span; whoever does a part of it says `with span("graphql.parse"):`.
Spans exist only where they are recorded: everywhere else all of this is one look at a context variable. So they are
made here rather than by OpenTelemetry's SDK, whose span costs as much as the answer to a compiled query.
"""

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from enum import IntEnum
from types import TracebackType
from typing import Final, NamedTuple

Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1
_MOST_STATE_CHARACTERS: Final = 512
_HALF: Final = 64
_NO_ATTRIBUTES: Final[Attributes] = {}


class SpanKind(IntEnum):
    """Whose side of a call a span is, with the numbers of OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class SpanContext(NamedTuple):
    """Which span it is, for others who go on with its trace or point to it."""

    trace_id: int
    span_id: int
    is_sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The header of W3C Trace Context."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


class Span:
    """A piece of work that is recorded, with when it began and ended and what is known of it."""

    __slots__ = (
        "_record",
        "attributes",
        "context",
        "ended_ns",
        "error",
        "kind",
        "links",
        "name",
        "parent",
        "started_ns",
    )

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        record: "Callable[[Span], None]",
        attributes: Attributes = _NO_ATTRIBUTES,
        links: Sequence[SpanContext] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.context = context
        self.parent = parent
        self.attributes = attributes
        self.links = links
        self.error: str | None = None
        """The class or code of what it failed by. Never its words, which may hold what is nobody's business."""
        self.started_ns = time.time_ns()
        self.ended_ns = 0
        self._record = record

    def set(self, **attributes: Value) -> None:
        """Add attributes; `__` in a name stands for a dot."""
        self.attributes = {**self.attributes, **{name.replace("__", "."): it for name, it in attributes.items()}}

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes = _NO_ATTRIBUTES) -> "Span":
        """Begin a part of this span."""
        own = self.context
        context = SpanContext(own.trace_id, random.getrandbits(_HALF) or 1, True, own.state)
        return Span(name, kind, context, own, self._record, attributes)

    def leaf(self, name: str, kind: SpanKind, attributes: Attributes, *, seconds: float, error: str | None) -> None:
        """Record a part of this span that ends now and has no parts itself."""
        part = self.child(name, kind, attributes)
        part.ended_ns = part.started_ns
        part.started_ns -= int(seconds * 1e9)
        part.error = error
        self._record(part)

    def end(self, error: str | None = None) -> None:
        """It is over, and failed by an `error`."""
        self.ended_ns = time.time_ns()
        self.error = error if error is not None else self.error
        self._record(self)


_current: ContextVar[Span | SpanContext | None] = ContextVar("span", default=None)


def recording() -> Span | None:
    """The span that is under way here, where one is recorded."""
    current = _current.get()
    return current if type(current) is Span else None


def context() -> SpanContext | None:
    """The span that is under way here, recorded or only passed on by whoever asked us."""
    current = _current.get()
    return current.context if type(current) is Span else current  # type: ignore[return-value]  # mypy does not narrow by type()


def origin() -> str | None:
    """What later work that is caused here is linked to: the recorded span's `traceparent`."""
    span = recording()
    return None if span is None else span.context.traceparent


def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes = _NO_ATTRIBUTES
) -> AbstractContextManager[Span | None]:
    """A block as a part of the span that is under way, where that is recorded. Fails with whatever the block raises."""
    parent = recording()
    return NOTHING if parent is None else Within(parent.child(name, kind, attributes))


def alone() -> AbstractContextManager[object]:
    """A block that is no part of the span under way: what it starts lasts longer."""
    return Within(None)


class Tracer:
    """Begins traces, and decides which are recorded (OpenTelemetry's samplers, by their names)."""

    def __init__(self, record: Callable[[Span], None], *, sampler: str, ratio: float) -> None:
        """`record` takes every span as it ends, and has to be quick. `ratio` is for the samplers with "ratio"."""
        self._record = record
        self._is_parent_based = sampler.startswith("parentbased_")
        ratio = ratio if sampler.endswith("ratio") else float(sampler.endswith("always_on"))
        self._below = round(ratio * 2**_HALF)

    def begin(
        self,
        name: str,
        kind: SpanKind,
        *,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        attributes: Attributes = _NO_ATTRIBUTES,
    ) -> Span | SpanContext | None:
        """A span that no other of ours is around; the parent where it is only passed on, or nothing.

        Work with links is always recorded: what it is linked to was.
        """
        if parent is None:
            low = random.getrandbits(_HALF)
            if low >= self._below and not links:
                return None
            trace_id, state = random.getrandbits(_HALF) << _HALF | low or 1, ""
        else:
            low = parent.trace_id & (1 << _HALF) - 1
            if not (parent.is_sampled if self._is_parent_based else low < self._below):
                return parent
            trace_id, state = parent.trace_id, parent.state
        context = SpanContext(trace_id, random.getrandbits(_HALF) or 1, True, state)
        return Span(name, kind, context, parent, self._record, attributes, links)

    def work(
        self, name: str, kind: SpanKind, *, origins: Sequence[str | None] = (), attributes: Attributes = _NO_ATTRIBUTES
    ) -> AbstractContextManager[Span | None]:
        """A block as a trace of its own, linked to what caused it (`origin()` of then)."""
        links = [link for header in dict.fromkeys(origins) if (link := read_traceparent(header)) is not None]
        return Within(self.begin(name, kind, links=links, attributes=attributes))


class Within(AbstractContextManager[Span | None]):
    """A block that something is under way in: a span, which ends with it, a foreign one, or nothing."""

    __slots__ = ("_current", "_token")

    def __init__(self, current: Span | SpanContext | None) -> None:
        self._current = current
        self._token: Token[Span | SpanContext | None] | None = None

    def __enter__(self) -> Span | None:
        self._token = _current.set(self._current)
        return self._current if isinstance(self._current, Span) else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if isinstance(self._current, Span):
            self._current.end(None if error is None else error_type(error))


class _Nothing(AbstractContextManager[None]):
    """A block that is not recorded."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


NOTHING: Final = _Nothing()


def enter(current: Span | SpanContext | None) -> None:
    """From here on this is under way, until the task ends."""
    _current.set(current)


def error_type(error: BaseException) -> str:
    """What an error is called in a span: its stable code where it has one."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else type(error).__name__


def read_traceparent(header: str | None, state: str | None = None) -> SpanContext | None:
    """The span that a `traceparent` header names, None for one that is wrong (W3C Trace Context, section 3.2)."""
    found = None if header is None else _TRACEPARENT.fullmatch(header.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    kept = state if state is not None and len(state) <= _MOST_STATE_CHARACTERS else ""
    return SpanContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED), kept)
