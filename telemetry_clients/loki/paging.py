"""Reading more lines than Loki gives at once, without losing or doubling those that share a nanosecond."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from telemetry_clients.errors import TelemetryLimited
from telemetry_clients.loki.answers import LogLine

LineKey = tuple[int, str, frozenset[tuple[str, str]]]


class Direction(StrEnum):
    """The order of lines, and from which end of the range they are taken."""

    FORWARD = "forward"
    BACKWARD = "backward"


class Pager:
    """What is left of a range while it is read a page at a time.

    The last line of a full page may share its nanosecond with lines that did not fit, so the next page begins with that
    nanosecond again, and what was seen of it is left out.
    """

    def __init__(self, start_ns: int, end_ns: int, direction: Direction) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.is_done = False
        self._direction = direction
        self._edge_ns: int | None = None
        self._seen: Counter[LineKey] = Counter()

    def size(self, wanted: int, most: int) -> int:
        """How many lines to ask for, to get `wanted` new ones. Raises TelemetryLimited where that leads nowhere."""
        if self._seen.total() >= most:
            raise TelemetryLimited(
                "Loki",
                f"More than {most} lines have the same nanosecond, and Loki gives no more at once. "
                "Narrow the query, or raise max_entries_limit_per_query.",
            )
        return min(most, wanted + self._seen.total())

    def take(self, lines: Sequence[LogLine], size: int) -> list[LogLine]:
        """The new lines of a page, in order, of which `size` lines were asked for."""
        page = in_order(lines, self._direction)
        seen = Counter(self._seen)
        fresh = []
        for line in page:
            if line.time_ns == self._edge_ns and seen[line_key(line)] > 0:
                seen[line_key(line)] -= 1
            else:
                fresh.append(line)
        if len(page) < size:
            self.is_done = True
        else:
            self._move_to(page)
        return fresh

    def _move_to(self, page: Sequence[LogLine]) -> None:
        edge_ns = page[-1].time_ns
        at_edge = Counter(line_key(line) for line in page if line.time_ns == edge_ns)
        self._seen = self._seen | at_edge if edge_ns == self._edge_ns else at_edge
        self._edge_ns = edge_ns
        if self._direction is Direction.FORWARD:
            self.start_ns = edge_ns
        else:
            self.end_ns = edge_ns + 1


def in_order(lines: Sequence[LogLine], direction: Direction) -> list[LogLine]:
    """Lines of any streams in the order of time; those of one nanosecond stay as they came."""
    return sorted(lines, key=lambda line: line.time_ns, reverse=direction is Direction.BACKWARD)


def line_key(line: LogLine) -> LineKey:
    """What makes a line the same line when it comes again."""
    return line.time_ns, line.line, frozenset(line.labels.items())
