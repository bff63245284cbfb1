"""Lines per second of the log templates, on one core, beside what a bare loop over the same lines with one regular
expression does: `python -m bench.log_templates`."""

import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from engines.log_lines import level_of
from engines.log_templates import LogTemplates

LINES = 100_000
WANTED_LINES_PER_SECOND = 20_000
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBER = re.compile(r"\d+")


def shop(random_: random.Random) -> str:
    """A line of a shop: logfmt, JSON and plain text, as real services mix them."""
    number = random_.randrange
    kind = number(10)
    if kind < 5:
        return (
            f'level=info msg="request handled" method=GET path=/items/{number(9000)} status=200'
            f" duration_ms={number(90)} user={number(9000)}"
        )
    if kind < 7:
        trace_id = f"{random_.getrandbits(128):032x}"
        return (
            f'{{"level": "error", "msg": "upstream payment failed", "status": 503, "order": {number(99999)}, '
            f'"trace_id": "{trace_id}", "version": "v2.4.1"}}'
        )
    if kind < 9:
        name = random_.choice(("ada", "bob", "eve", "joe", "kim"))
        return f"2026-11-23 10:00:{number(60):02d},{number(999):03d} INFO [worker-{number(8)}] c.e.Shop - {name} paid"
    return f"panic: runtime error: index out of range [{number(99)}] with length {number(99)}"


def every_line_is_new(random_: random.Random) -> str:
    """The worst case: no two lines have a word in common."""
    return " ".join("".join(random_.choices("abcdefghijklmnop", k=8)) for _ in range(12))


def lines_per_second(work: Callable[[Sequence[str]], object], lines: Sequence[str]) -> float:
    """The best of three runs."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work(lines)
        best = min(best, time.process_time() - began)
    return len(lines) / best


def mined(lines: Sequence[str]) -> LogTemplates:
    """The templates of lines whose level is not asked for."""
    templates = LogTemplates()
    for i, line in enumerate(lines):
        templates.add(START + timedelta(milliseconds=i), line)
    return templates


def mined_by_level(lines: Sequence[str]) -> LogTemplates:
    """The templates of lines, whose level has to be found in them first."""
    templates = LogTemplates()
    for i, line in enumerate(lines):
        templates.add(START + timedelta(milliseconds=i), line, level_of(line, {}))
    return templates


def main() -> int:
    """Print the figures; 1 when templates are slower than wanted."""
    source = random.Random(20260301)
    ordinary = [shop(source) for _ in range(LINES)]
    baseline = lines_per_second(lambda lines: [NUMBER.sub("0", line) for line in lines], ordinary)
    rate = lines_per_second(mined, ordinary)
    rows = [
        ("one regular expression over every line (baseline)", baseline),
        ("templates of a shop's lines", rate),
        ("the same, and the level of each line", lines_per_second(mined_by_level, ordinary)),
        ("templates of lines that have nothing in common", 0.0),
    ]
    worst = [every_line_is_new(source) for _ in range(LINES // 10)]
    rows[-1] = (rows[-1][0], lines_per_second(mined, worst))
    for what, per_second in rows:
        sys.stdout.write(f"{what:55} {per_second:>10,.0f} lines/s   {per_second / baseline:6.3f} of the baseline\n")
    sys.stdout.write(f"{len(mined(ordinary))} templates of {LINES:,} lines\n")
    return int(rate < WANTED_LINES_PER_SECOND)


if __name__ == "__main__":
    sys.exit(main())
