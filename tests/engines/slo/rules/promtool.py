"""Rules run by `promtool test rules` over made-up counters, beside the same arithmetic in exact fractions."""

import shutil
import subprocess
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.slo.rules.groups import AlertingRule, RuleGroup, written

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(promtool is None, reason="promtool is not installed: it is in Debian's prometheus")


@dataclass(frozen=True)
class Counter:
    """A counter by its increments, one a step; None where no scrape happened. `resets` are steps before which it starts
    again from zero; before `starts_at` the series is not there."""

    series: str
    increments: Sequence[int | None]
    resets: frozenset[int] = frozenset()
    starts_at: int = 0

    def values(self) -> str:
        """As promtool takes it."""
        return " ".join("_" if value is None else str(value) for value in self._samples())

    def _samples(self) -> Iterator[int | None]:
        value = 0
        for step, increment in enumerate(self.increments):
            if step in self.resets:
                value = 0
            # What happened before the first scrape is nobody's to know: counters begin at zero, unless they come late.
            value += (increment or 0) if step or self.starts_at else 0
            yield None if increment is None or step < self.starts_at else value


@dataclass
class Case:
    """One run: counters, and what is expected of them."""

    name: str
    counters: Sequence[Counter]
    step_seconds: int = 60
    alerts: list[dict[str, Any]] = field(default_factory=list)
    expressions: list[dict[str, Any]] = field(default_factory=list)

    def expect_alert(
        self, alertname: str, step: int, severities: set[str], *, labels: dict[str, str], severity: str
    ) -> None:
        """At a step exactly these severities are firing. `severity` names the label that tells them."""
        told = [{"exp_labels": {**labels, severity: one}} for one in sorted(severities)]
        self.alerts.append({"eval_time": f"{step * self.step_seconds}s", "alertname": alertname, "exp_alerts": told})

    def expect_close(self, expression: str, step: int, value: float | Fraction, within: float) -> None:
        """The expression has one value at a step, no further from `value` than `within`."""
        wanted = float(value)
        self.expressions.append(
            {
                "expr": f"abs(sum({expression}) - {wanted!r}) <= bool {within!r}",
                "eval_time": f"{step * self.step_seconds}s",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        )

    def expect_nothing(self, expression: str, step: int) -> None:
        """The expression has no result at a step."""
        self.expressions.append({"expr": expression, "eval_time": f"{step * self.step_seconds}s", "exp_samples": []})


def run(folder: Path, groups: Sequence[RuleGroup], cases: Sequence[Case]) -> None:
    """Run all cases, in one call for each length of their steps. Fails with promtool's own words."""
    (folder / "rules.yaml").write_text(written([_without_annotations(group) for group in groups]))
    for step_seconds in sorted({case.step_seconds for case in cases}):
        tests = [
            {
                "name": case.name,
                "interval": f"{step_seconds}s",
                "input_series": [{"series": counter.series, "values": counter.values()} for counter in case.counters],
                "alert_rule_test": case.alerts,
                "promql_expr_test": case.expressions,
            }
            for case in cases
            if case.step_seconds == step_seconds
        ]
        content = {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": f"{step_seconds}s",
            "group_eval_order": [group.name for group in groups],
            "tests": tests,
        }
        test_file = folder / f"tests-{step_seconds}.yaml"
        test_file.write_text(yaml.safe_dump(content, sort_keys=False, width=10_000))
        ran = subprocess.run(
            [str(promtool), "test", "rules", str(test_file)], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def _without_annotations(group: RuleGroup) -> RuleGroup:
    """promtool compares annotations too, which are no part of when an alert fires."""
    rules = [replace(rule, annotations={}) if isinstance(rule, AlertingRule) else rule for rule in group.rules]
    return replace(group, rules=rules)


class Mathematics:
    """What the counters of one case say, in exact numbers: bad and all events of each step, None for no scrape."""

    def __init__(self, bad: Sequence[int | None], total: Sequence[int | None], step_seconds: int = 60) -> None:
        self.steps = len(total)
        self._step_seconds = step_seconds
        self._bad = list(accumulate(one or 0 for one in bad))
        self._total = list(accumulate(one or 0 for one in total))
        self._seen = [step for step, one in enumerate(total) if one is not None]

    def error_ratio(self, step: int, seconds: int) -> Fraction | None:
        """Bad of all events between the first and the last scrape of a window that ends with `step`."""
        first = bisect_left(self._seen, max(0, step - seconds // self._step_seconds))
        last = bisect_right(self._seen, step) - 1
        if last <= first:
            return None
        begin, end = self._seen[first], self._seen[last]
        total = self._total[end] - self._total[begin]
        return Fraction(self._bad[end] - self._bad[begin], total) if total else None

    def burns(self, step: int, pairs: Sequence[tuple[int, int, Fraction]], budget: Fraction) -> bool:
        """Whether both windows of any pair burn faster than its factor."""
        return any(
            all(
                (ratio := self.error_ratio(step, seconds)) is not None and ratio > factor * budget
                for seconds in (short, long)
            )
            for long, short, factor in pairs
        )

    def timeline(self, is_firing: Callable[[int], bool]) -> list[tuple[int, bool]]:
        """The steps at which something begins or ends, and whether it then is."""
        changes, before = [], False
        for step in range(self.steps):
            now = is_firing(step)
            if now != before:
                changes.append((step, now))
            before = now
        return changes
