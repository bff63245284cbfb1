"""How often the engine names the right service on recorded incidents whose cause is known.

    python -m bench.root_cause ../shared/rca                 the table of the engine and of three simple baselines
    python -m bench.root_cause ../shared/rca --only petshop  only cases whose id contains this
    python -m bench.root_cause ../shared/rca --without logs  as if one signal had not been there (also: metrics, traces)
    python -m bench.root_cause ../shared/rca --noise 20      with so many services more that only make noise
    python -m bench.root_cause ../shared/rca --robustness    the tables of both, each signal and 0 to 40 noise services
    python -m bench.root_cause ../shared/rca --calibration   how often answers of each confidence were right
    python -m bench.root_cause ../shared/rca --misses        what was named instead, and why
    python -m bench.root_cause --large                       CPU seconds of an incident as large as one gets

A case is a folder with case.json, truth.json and metrics, spans, logs and topology as compressed CSV (see the README
beside the cases). The files are read into what production gathers from its backends (`recorded_cases.py`); from there
on it is the same code. `truth.json` is only compared with. top-k is the share of cases whose service is among the
first k of the ranking, Avg@5 the mean of top-1 to top-5; seconds are of CPU, of the analysis alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.calibration import Answer, answer_of, cross_validated, fit, print_reliability
from bench.cause_baselines import BASELINES
from bench.large_incident import large_incident, with_traces
from bench.recorded_cases import Case, read_cases
from engines.correlation import Analysis, analyse
from engines.correlation.evidence import Call, EventKind, Evidence, Series, Signal, TraceSet

Ranking = Callable[[Evidence], Sequence[str]]
SIGNALS = ("metrics", "logs", "traces")
NOISE = (0, 10, 20, 40)


@dataclass(frozen=True, slots=True)
class Result:
    """Where the right service was in a ranking, None where it was not, and what that took."""

    case: Case
    rank: int | None
    seconds: float
    analysis: Analysis | None = None


def measure(cases: Iterable[Case], ranking: Ranking) -> list[Result]:
    """The results of a baseline."""
    results = []
    for case in cases:
        began = time.process_time()
        order = list(ranking(case.evidence))
        results.append(Result(case, _rank(order, case), time.process_time() - began))
    return results


def measure_engine(cases: Iterable[Case]) -> list[Result]:
    """The results of the engine."""
    results = []
    for case in cases:
        began = time.process_time()
        analysis = analyse(case.evidence)
        results.append(Result(case, _rank(analysis.ranking, case), time.process_time() - began, analysis))
    return results


def without(evidence: Evidence, signal: str) -> Evidence:
    """The evidence as if one signal had not been there. Without traces there are no lines that belong to them."""
    match signal:
        case "metrics":
            return replace(evidence, series=())
        case "logs":
            return replace(evidence, patterns=(), traces=_without_lines(evidence.traces))
        case "traces":
            return replace(evidence, traces=None)
        case _:
            return evidence


def with_noise(evidence: Evidence, services: int, seed: int) -> Evidence:
    """The evidence with services more, which the alerting one calls, whose metrics wander and jump at random."""
    random = np.random.default_rng(seed)
    models = [series for series in evidence.series if series.signal is not Signal.ERROR_RATIO]
    if not models:
        return evidence
    added: list[Series] = []
    for number in range(services):
        name = f"noise-{number}"
        for index in random.choice(len(models), size=min(4, len(models)), replace=False):
            model = models[index]
            known = model.values[np.isfinite(model.values)]
            level = float(np.median(known)) if len(known) else 1.0
            values = level * np.exp(
                random.normal(0, 0.3, len(model.times)) + np.cumsum(random.normal(0, 0.02, len(model.times)))
            )
            added.append(Series(name, model.signal, model.times, values))
    called = [Call(service, series.service) for service in evidence.services for series in added]
    return replace(evidence, series=(*evidence.series, *added), calls=(*evidence.calls, *dict.fromkeys(called)))


def _has_signals(evidence: Evidence) -> bool:
    return bool(evidence.series or evidence.patterns or evidence.traces)


def _without_lines(traces: TraceSet | None) -> TraceSet | None:
    if traces is None:
        return None
    is_line = np.array([event.kind is EventKind.LOG for event in traces.events], dtype=bool)
    kept = ~is_line[traces.event_event]
    return replace(
        traces,
        event_visit=traces.event_visit[kept],
        event_event=traces.event_event[kept],
        event_count=traces.event_count[kept],
        event_offset=traces.event_offset[kept],
    )


def _rank(order: Sequence[str], case: Case) -> int | None:
    return order.index(case.truth.service) + 1 if case.truth.service in order else None


def top(results: Sequence[Result], k: int) -> float:
    """The share of results whose service is among the first k."""
    return sum(result.rank is not None and result.rank <= k for result in results) / max(1, len(results))


def _line(name: str, results: Sequence[Result]) -> str:
    seconds = sorted(result.seconds for result in results)
    average = sum(top(results, k) for k in range(1, 6)) / 5
    return (
        f"{name:44} {len(results):5} {top(results, 1):7.1%} {top(results, 3):7.1%} {average:7.1%}"
        f" {float(np.median(seconds)) if seconds else 0:8.2f} {max(seconds, default=0):8.2f}"
    )


def _head(title: str) -> None:
    print(f"\n{title:44} {'cases':>5} {'top-1':>7} {'top-3':>7} {'Avg@5':>7} {'median s':>8} {'worst s':>8}")


def _family(case: Case) -> str:
    return case.system.partition("-")[0]


def _groups(results: Sequence[Result], key: Callable[[Case], str]) -> dict[str, list[Result]]:
    grouped: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: key(result.case)):
        grouped.setdefault(key(result.case), []).append(result)
    return grouped


def print_results(cases: Sequence[Case]) -> list[Result]:
    """The engine's table by system and by fault, and that of the baselines."""
    results = measure_engine(cases)
    _head("engine")
    for name, group in _groups(results, _family).items():
        print(_line(name, group))
    for name, group in _groups(results, lambda case: f"  {case.system}: {case.truth.fault}").items():
        print(_line(name, group))
    kinds = [
        result.analysis.causes[0].kind is result.case.truth.kind
        for result in results
        if result.analysis is not None and result.rank == 1 and result.case.truth.kind is not None
    ]
    if kinds:
        print(f"where the service is right, the kind is right too in {sum(kinds)} of {len(kinds)}")
    for name, ranking in BASELINES.items():
        _head(f"baseline: {name}")
        for family, group in _groups(measure(cases, ranking), _family).items():
            print(_line(family, group))
    return results


def print_robustness(cases: Sequence[Case]) -> None:
    """What is left without a signal, and among services that only make noise."""
    _head("with a signal less")
    for signal in ("", *SIGNALS):
        changed = [replace(case, evidence=without(case.evidence, signal)) for case in cases]
        for family, group in _groups(measure_engine(changed), _family).items():
            left = "" if any(_has_signals(result.case.evidence) for result in group) else ", which is all there was"
            print(_line(f"{family}, {'without ' + signal if signal else 'everything'}{left}", group))
    _head("with services that only make noise")
    for services in NOISE:
        changed = [replace(case, evidence=with_noise(case.evidence, services, seed)) for seed, case in enumerate(cases)]
        for family, group in _groups(measure_engine(changed), _family).items():
            print(_line(f"{family}, {services} more", group))


def print_calibration(cases: Sequence[Case], results: Sequence[Result]) -> None:
    """How often answers of each confidence were right, on the cases and on worsened copies, and what would fit best."""
    worsened: list[Result] = []
    for signal in SIGNALS:
        worsened += measure_engine([replace(case, evidence=without(case.evidence, signal)) for case in cases])
    for services in (10, 40):
        worsened += measure_engine(
            [replace(case, evidence=with_noise(case.evidence, services, seed)) for seed, case in enumerate(cases)]
        )
    print_reliability("confidence, the cases as they are", _answers(results))
    every = _answers([*results, *worsened])
    print_reliability("confidence, and with a signal less or noise", every)
    print_reliability("  the same, fitted and cross-validated", cross_validated(every))
    print(f"  fitted to all: {fit(every)}")


def _answers(results: Sequence[Result]) -> list[Answer]:
    found = [
        answer_of(result.case.id, result.analysis, result.case.truth.service)
        for result in results
        if result.analysis is not None
    ]
    return [answer for answer in found if answer is not None]


def print_misses(results: Sequence[Result]) -> None:
    """The cases whose cause was not named first."""
    for result in results:
        if result.rank != 1 and result.analysis is not None:
            print(f"\n{result.case.id}: {result.case.truth.fault} in {result.case.truth.service} ranked {result.rank}")
            print(f"  {result.analysis.summary}\n  {result.analysis.why_not}")


def print_large(rounds: int = 3) -> None:
    """The CPU seconds of an incident as large as one gets: those of its traces, and those of the answer."""
    evidence, traces, lines = large_incident()
    counted = sum(int(pattern.counts.sum()) for pattern in evidence.patterns)
    services = {series.service for series in evidence.series}
    print(f"\n{len(services)} services, {len(evidence.series)} series, {counted} lines that the backend has counted,")
    print(f"{len(traces)} traces of {sum(len(spans) for _, spans in traces)} spans; CPU seconds:")
    for _ in range(rounds):
        began = time.process_time()
        complete = with_traces(evidence, traces, lines)
        digested = time.process_time()
        analysis = analyse(complete)
        answered = time.process_time()
        print(
            f"traces {digested - began:.2f}, answer {answered - digested:.2f}, together {answered - began:.2f}"
            f" ({analysis.causes[0].kind.lower()} at {analysis.causes[0].service})"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was asked for; 2 where there are no cases."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.root_cause", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", type=Path, nargs="?", help="the folder with a folder per case")
    parser.add_argument("--only", default="", help="only cases whose id contains this")
    parser.add_argument("--without", choices=SIGNALS, default="", help="as if this signal had not been there")
    parser.add_argument("--noise", type=int, default=0, metavar="N", help="add N services that only make noise")
    parser.add_argument("--robustness", action="store_true", help="both tables: a signal less, and noise services")
    parser.add_argument("--calibration", action="store_true", help="how often answers of each confidence were right")
    parser.add_argument("--misses", action="store_true", help="what was named instead, and why")
    parser.add_argument("--large", action="store_true", help="CPU seconds of fifty services and a thousand traces")
    options = parser.parse_args(arguments)
    if options.cases is None and not options.large:
        parser.error("say which folder has the cases, as in ../shared/rca (make bench-root-cause CASES=../shared/rca)")
    if options.large:
        print_large()
    if options.cases is None:
        return 0
    try:
        cases = list(read_cases(options.cases, options.only))
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    cases = [
        replace(case, evidence=with_noise(without(case.evidence, options.without), options.noise, seed))
        for seed, case in enumerate(cases)
    ]
    results = print_results(cases)
    if options.calibration:
        print_calibration(cases, results)
    if options.misses:
        print_misses(results)
    if options.robustness:
        print_robustness(cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
