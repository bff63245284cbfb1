"""Traces from Tempo: searches, one for many services where they ask the same, and the spans of what was found."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from domain.errors import ValidationFailed
from domain.time import Deadline
from domain.traces import SpanOrder, TraceOrder
from engines.traces import SpanNode, TraceTree, trace_tree
from resolvers.context import RequestContext
from resolvers.telemetry import all_of, answers_of, backend_deadline
from telemetry_clients.errors import TelemetryError
from telemetry_clients.tempo import MOST_TRACES, FoundTrace, Tempo, normal_trace_id, traceql

Answer = TypeVar("Answer")

USUAL_TRACES: Final = 20
MOST_TRACES_SHOWN: Final = 100

_CANDIDATES: Final = 200
"""How many traces are asked for, at least, to find the slowest of them."""

_ROUNDS: Final = 4
"""How often a search is repeated, narrower each time, when Tempo has more traces than it returned."""

_CALLS_AT_ONCE: Final = 8
_SERVICES_AT_ONCE: Final = 50
_NAME_CHARACTERS_AT_ONCE: Final = 4_000  # a query is part of an address, which must not grow beyond what proxies take
_MANY_SPANS: Final = 2_000


@dataclass(frozen=True, slots=True)
class TraceQuestion:
    """Which traces are asked for. `first` bounds how many of them are returned."""

    start: datetime
    end: datetime
    errors_only: bool = False
    min_duration_seconds: float | None = None
    first: int = USUAL_TRACES
    order: TraceOrder = TraceOrder.START

    def query(self, services: Sequence[str], *, at_least_seconds: float | None = None) -> str:
        """The TraceQL for spans of these services, in traces at least so long."""
        bounds = [bound for bound in (self.min_duration_seconds, at_least_seconds) if bound is not None]
        return traceql.spans_of(
            services, errors_only=self.errors_only, min_duration_seconds=max(bounds) if bounds else None
        )

    def chosen(self, found: Sequence[FoundTrace]) -> list[FoundTrace]:
        """The first of those that were found, in order."""
        if self.order is TraceOrder.DURATION:
            found = sorted(found, key=lambda trace: (-trace.duration_seconds, trace.trace_id))
        return list(found[: self.first])

    @property
    def candidates(self) -> int:
        """How many traces to ask Tempo for, to choose from."""
        return self.first if self.order is TraceOrder.START else max(self.first, _CANDIDATES)

    def candidates_of(self, services: int) -> int:
        """How many traces to ask for, to choose those of several services from."""
        return min(MOST_TRACES, self.first * services) if self.order is TraceOrder.START else MOST_TRACES


def trace_question(
    start: datetime,
    end: datetime,
    *,
    now: datetime,
    errors_only: bool = False,
    min_duration_seconds: float | None = None,
    first: int | None = None,
    order: TraceOrder = TraceOrder.START,
) -> TraceQuestion:
    """What clients ask for, checked. Raises ValidationFailed."""
    require_searchable(start, end, now)
    if first is not None and not 1 <= first <= MOST_TRACES_SHOWN:
        raise ValidationFailed(f"`first` must be from 1 to {MOST_TRACES_SHOWN}", ["first"])
    if min_duration_seconds is not None and not 0 <= min_duration_seconds < math.inf:
        raise ValidationFailed("`minDurationSeconds` must be 0 or more", ["minDurationSeconds"])
    return TraceQuestion(start, end, errors_only, min_duration_seconds, first or USUAL_TRACES, order)


def require_searchable(start: datetime, end: datetime, now: datetime) -> None:
    """Raises ValidationFailed for a range that ends before it starts, or that is yet to come."""
    if start >= end:
        raise ValidationFailed("`range.from` must lie before `range.to`", ["range"])
    if start > now:
        raise ValidationFailed("`range.from` lies in the future, where no traces are", ["range", "from"])


@dataclass(frozen=True, slots=True)
class KeptTrace:
    """A trace that was found, and the instance of Tempo that keeps it (None: the default one)."""

    found: FoundTrace
    instance: str | None = None


async def traces_of_service(
    context: RequestContext, service: str, instance: str | None, question: TraceQuestion
) -> list[KeptTrace]:
    """Traces with spans of one service, given by its `service.name`, in the Tempo that knows it.

    Services that ask the same at the same time are asked for in one search. Raises TelemetryError.
    """
    tempo = context.telemetry.tempo.get(instance)
    search = partial(_search_each, tempo, question, backend_deadline(context))
    found = await context.batcher.ask(("traces of services", instance, question), service, search)
    return [KeptTrace(trace, instance) for trace in found]


async def traces_of_services(
    context: RequestContext, services: Sequence[tuple[str | None, str]], question: TraceQuestion
) -> tuple[list[KeptTrace], tuple[TelemetryError, ...]]:
    """Traces with spans of any of several services, given with the Tempo that knows them, in one search of each; and
    why those of some Tempos are missing. Raises TelemetryError.
    """
    by_instance: dict[str | None, list[str]] = {}
    for instance, service in services:
        by_instance.setdefault(instance, []).append(service)
    if not by_instance:
        context.telemetry.tempo.get()  # It says so where there is none.
    deadline = backend_deadline(context)

    async def search(instance: str | None, names: Sequence[str]) -> list[KeptTrace]:
        found = await _search(context.telemetry.tempo.get(instance), names, question, deadline)
        return [KeptTrace(trace, instance) for trace in found]

    answers, failures = await answers_of(search(instance, names) for instance, names in by_instance.items())
    kept = [trace for traces in answers for trace in traces]
    if question.order is TraceOrder.START:
        kept.sort(key=lambda trace: trace.found.started_at, reverse=True)
    else:
        kept.sort(key=lambda trace: -trace.found.duration_seconds)
    return kept[: question.first], failures


async def traces_of_query(
    context: RequestContext, query: str, instance: str | None, question: TraceQuestion
) -> list[KeptTrace]:
    """Traces that meet a query in TraceQL. Raises TelemetryError."""
    tempo = context.telemetry.tempo.get(instance)
    found = await tempo.search(
        query, start=question.start, end=question.end, limit=question.candidates, deadline=backend_deadline(context)
    )
    return [KeptTrace(trace, instance) for trace in question.chosen(found)]


def searchable_range(context: RequestContext, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The end of a range, as much of it as Tempo searches at once: incidents can stay open for longer."""
    longest = timedelta(seconds=context.telemetry.tempo.get().longest_search_seconds)
    return max(start, end - longest), end


async def tree_of_trace(context: RequestContext, trace_id: str, instance: str | None) -> TraceTree | None:
    """A trace with its spans, or None where Tempo does not have it (any more).

    Traces that are asked for at the same time are fetched together, a few at once, each of them once. Raises
    TelemetryError, for a trace that could not be fetched and no other.
    """
    tempo = context.telemetry.tempo.get(instance)
    fetch = partial(_fetch_all, tempo, backend_deadline(context))
    fetched = await context.batcher.ask(("traces by id", instance), normal_trace_id(trace_id), fetch)
    if isinstance(fetched, TelemetryError):
        raise fetched
    return fetched


async def tree_anywhere(context: RequestContext, trace_id: str) -> TraceTree | None:
    """A trace from whichever Tempo has it. All are asked at once. Raises TelemetryError where one that was not able to
    answer may have it.
    """
    tempos = context.telemetry.tempo
    if not tempos:
        tempos.get()
    deadline = backend_deadline(context)
    wanted = normal_trace_id(trace_id)
    answers = await all_of(_fetch_all(tempo, deadline, [wanted]) for _, tempo in tempos)
    fetched = [answer[wanted] for answer in answers]
    if tree := next((answer for answer in fetched if isinstance(answer, TraceTree)), None):
        return tree
    if failure := next((answer for answer in fetched if isinstance(answer, TelemetryError)), None):
        raise failure
    return None


def ordered_spans(tree: TraceTree, order: SpanOrder, *, first: int | None) -> Sequence[SpanNode]:
    """The spans of a trace: as a waterfall, or the longest first. Raises ValidationFailed."""
    if first is not None and first < 0:
        raise ValidationFailed("`first` must be 0 or more", ["first"])
    nodes: Sequence[SpanNode] = tree.nodes
    match order:
        case SpanOrder.DURATION:
            nodes = sorted(nodes, key=lambda node: -node.duration_ns)
        case SpanOrder.SELF_TIME:
            nodes = sorted(nodes, key=lambda node: -node.self_ns)
    return nodes[:first]


async def _search(
    tempo: Tempo, services: Sequence[str], question: TraceQuestion, deadline: Deadline
) -> list[FoundTrace]:
    """The traces of some services taken together.

    The slowest are found among more than Tempo returns at once by asking again for those that are at least as slow as
    the slowest so far: what is missed after a few rounds has at least made way for what is slower than most.
    """
    at_least_seconds: float | None = None
    found: tuple[FoundTrace, ...] = ()
    for _ in range(_ROUNDS if question.order is TraceOrder.DURATION else 1):
        found = await tempo.search(
            question.query(services, at_least_seconds=at_least_seconds),
            start=question.start,
            end=question.end,
            limit=question.candidates,
            deadline=deadline,
        )
        if len(found) < question.candidates or question.order is TraceOrder.START:
            break
        slowest = question.chosen(found)[-1].duration_seconds
        if slowest == at_least_seconds:
            break
        at_least_seconds = slowest
    return question.chosen(found)


async def _search_each(
    tempo: Tempo, question: TraceQuestion, deadline: Deadline, services: Sequence[str]
) -> Mapping[str, list[FoundTrace]]:
    """The traces of each of some services, from as few searches as can be."""
    groups = await all_of([_search_group(tempo, question, deadline, group) for group in _groups(services, question)])
    return {service: traces for group in groups for service, traces in group.items()}


async def _search_group(
    tempo: Tempo, question: TraceQuestion, deadline: Deadline, services: Sequence[str]
) -> Mapping[str, list[FoundTrace]]:
    """One search tells the traces of all services, unless those of a busy one crowd out those of others.

    Then the search is repeated for the others: as many traces as all want together give one of them enough each time.
    The slowest of each are not known before all traces are: where there are too many, each service is asked for alone.
    """
    answers: dict[str, list[FoundTrace]] = {}
    missing = list(services)
    for _ in range(_ROUNDS):
        if len(missing) < 2:
            break
        limit = question.candidates_of(len(missing))
        found = await tempo.search(
            question.query(missing), start=question.start, end=question.end, limit=limit, deadline=deadline
        )
        is_whole = len(found) < limit
        if any(trace.services is None for trace in found):
            break  # nobody could tell for which service a trace was found
        if question.order is TraceOrder.DURATION and not is_whole:
            break
        of_each = {service: [trace for trace in found if _has(trace, service, question)] for service in missing}
        answers |= {
            service: question.chosen(traces)
            for service, traces in of_each.items()
            if is_whole or len(traces) >= question.first
        }
        missing = [service for service in missing if service not in answers]
    alone = await _few_at_once(partial(_search, tempo, [service], question, deadline) for service in missing)
    return answers | dict(zip(missing, alone, strict=True))


def _has(trace: FoundTrace, service: str, question: TraceQuestion) -> bool:
    """Whether a trace that was found for several services was found for this one."""
    if trace.services is None:
        return False
    spans = trace.services.get(service)
    return spans is not None and (spans.errors > 0 or not question.errors_only)


def _groups(services: Sequence[str], question: TraceQuestion) -> list[list[str]]:
    """Services that fit into one query, with enough traces for all of them in one answer."""
    most = min(_SERVICES_AT_ONCE, MOST_TRACES // question.first)
    groups: list[list[str]] = []
    characters = 0
    for service in services:
        characters += len(service)
        if not groups or len(groups[-1]) >= most or characters > _NAME_CHARACTERS_AT_ONCE:
            groups.append([])
            characters = len(service)
        groups[-1].append(service)
    return groups


async def _fetch_all(
    tempo: Tempo, deadline: Deadline, trace_ids: Sequence[str]
) -> Mapping[str, TraceTree | TelemetryError | None]:
    """Each trace, or why it could not be fetched."""

    async def fetch(trace_id: str) -> TraceTree | TelemetryError | None:
        try:
            spans = await tempo.trace(trace_id, deadline=deadline)
        except TelemetryError as error:
            return error
        if spans is None:
            return None
        # Arithmetic over very many spans would hold up every other request.
        return await asyncio.to_thread(trace_tree, spans) if len(spans) > _MANY_SPANS else trace_tree(spans)

    trees = await _few_at_once(partial(fetch, trace_id) for trace_id in trace_ids)
    return dict(zip(trace_ids, trees, strict=True))


async def _few_at_once(calls: Iterable[Callable[[], Awaitable[Answer]]]) -> list[Answer]:
    """Every answer, or the first failure; a few calls are under way at a time."""
    turn = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def take_turn(call: Callable[[], Awaitable[Answer]]) -> Answer:
        async with turn:
            return await call()

    return await all_of(take_turn(call) for call in calls)
