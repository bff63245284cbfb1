"""How well and how fast detection detects: `python -m bench.detection --seeds 1-5 --held-out 101-105`.

The shipped default rules watch synthetic services (see `detection_stories.py`) for a day, with a week before it. A
fault counts as found when the rule fires during it, or so shortly after its end that the window still shows it; a
firing that overlaps no fault is a false one. Precision is right firings of all firings, recall is found faults of all
faults. The rules were tuned on no seed of the held-out set.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter

import numpy as np

from bench.detection_stories import DAY, DAYS, KINDS, POINTS, STEP_SECONDS, Story
from domain.alerts import DetectionStatus
from domain.detection_defaults import DEFAULT_RULES, DefaultRule
from engines.detection.judging import Frame, judge
from engines.detection.lifecycle import State, Timing, advance
from engines.detection.replay import Firing, Grid, observations, replay

_START = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
_LAG_POINTS = 480 // STEP_SECONDS
_SERVICES = 1_000


@dataclass(slots=True)
class Score:
    """Counts of one kind of story."""

    faults: int = 0
    found: int = 0
    right: int = 0
    false: int = 0
    delay_seconds: float = 0.0

    def add(self, other: "Score") -> None:
        """Count another's as well."""
        self.faults += other.faults
        self.found += other.found
        self.right += other.right
        self.false += other.false
        self.delay_seconds += other.delay_seconds

    @property
    def precision(self) -> float:
        """Right firings of all; 1 where nothing fired."""
        return self.right / (self.right + self.false) if self.right + self.false else 1.0

    @property
    def recall(self) -> float:
        """Found faults of all; 1 where there were none."""
        return self.found / self.faults if self.faults else 1.0

    def __str__(self) -> str:
        delay = f"{self.delay_seconds / self.found / 60:5.1f} min" if self.found else "        -"
        return (
            f"precision {self.precision:6.3f}  recall {self.recall:6.3f}  faults {self.found:4}/{self.faults:<4} "
            f"false {self.false:3}  found after {delay}"
        )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1-5", help="the seeds that the rules may be tuned on")
    parser.add_argument("--held-out", default="101-105", help="seeds for the last word")
    parser.add_argument("--services", type=int, default=20, help="services of each kind for each seed")
    given = parser.parse_args()
    for title, seeds in (("tuning", given.seeds), ("held out", given.held_out)):
        if seeds:
            _print_accuracy(title, [*_range(seeds)], given.services)
    _print_speed()


def _print_accuracy(title: str, seeds: Sequence[int], services: int) -> None:
    print(f"Accuracy, {title}: seeds {seeds[0]} to {seeds[-1]}, {services} services of each kind and seed")
    overall = Score()
    for default in DEFAULT_RULES:
        of_rule = Score()
        for kind, score in _scores(default, seeds, services):
            print(f"  {default.name:22} {kind:26} {score}")
            of_rule.add(score)
        print(f"  {default.name:22} {'all':26} {of_rule}")
        overall.add(of_rule)
    print(f"  {'all rules':22} {'all':26} {overall}\n")


def _scores(default: DefaultRule, seeds: Sequence[int], services: int) -> Iterator[tuple[str, Score]]:
    grid = Grid(_START, STEP_SECONDS, POINTS)
    first = (DAYS - 1) * DAY
    for number, (kind, tell) in enumerate(KINDS[default.signal].items()):
        stories = [
            tell(np.random.default_rng([seed, number, service])) for seed in seeds for service in range(services)
        ]
        values = np.stack([story.values for story in stories])
        requests = np.stack([story.requests for story in stories])
        firings = replay(default.rule, grid, values, requests, first=first)
        yield kind, _score(stories, firings, grid)


def _score(stories: Sequence[Story], firings: Sequence[Firing], grid: Grid) -> Score:
    score = Score(faults=sum(len(story.faults) for story in stories))
    delays: dict[tuple[int, int], float] = {}
    for firing in firings:
        fired = (firing.fired_at.timestamp() - grid.start) / grid.step
        for number, fault in enumerate(stories[firing.service].faults):
            if fault.start <= fired <= fault.end + _LAG_POINTS:
                score.right += 1
                delays.setdefault((firing.service, number), (fired - fault.start) * grid.step)
                break
        else:
            score.false += 1
    score.found = len(delays)
    score.delay_seconds = sum(delays.values())
    return score


def _print_speed() -> None:
    """The arithmetic of one evaluation, as the job does it each 30 s, without asking and storing."""
    random = np.random.default_rng(1)
    total = 0.0
    for default in DEFAULT_RULES:
        frame = Frame(
            random.gamma(3, 1, _SERVICES),
            np.full(_SERVICES, 1e4),
            random.gamma(3, 1, (_SERVICES, 30)),
            random.gamma(3, 1, (_SERVICES, 7, 13)),
            np.full((_SERVICES, 2), np.nan),
        )
        timing = Timing.of(default.rule)
        at = datetime(2026, 3, 9, tzinfo=UTC)
        states: list[State | None] = [
            State(status=DetectionStatus.OK, since=at, evaluated_at=at) for _ in range(_SERVICES)
        ]
        best = np.inf
        for _ in range(5):
            at += timedelta(seconds=30)
            started = perf_counter()
            seen = observations(judge(default.rule, frame))
            states = [advance(state, each, timing, at)[0] for state, each in zip(states, seen, strict=True)]
            best = min(best, perf_counter() - started)
        print(f"Speed: {default.name:22} {_SERVICES} services in {1000 * best:6.1f} ms")
        total += best
    print(f"Speed: all default rules, {_SERVICES} services: {1000 * total:.1f} ms, {total / 30:.2%} of 30 s")


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    main()
