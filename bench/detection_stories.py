"""Synthetic services: what their signals look like for eight days, and where in the last one something is wrong.

Traffic follows the day and the week, with slow and fast noise, and counts are drawn (Poisson, overdispersed): a ratio
or a quantile of few requests is as noisy as it really is. Nothing here knows what the rules look for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.telemetry import GoldenSignal

Floats: TypeAlias = NDArray[np.float64]
Random: TypeAlias = np.random.Generator

STEP_SECONDS: Final = 120
DAY: Final = 86_400 // STEP_SECONDS
DAYS: Final = 8
POINTS: Final = DAY * DAYS
WINDOW_POINTS: Final = 300 / STEP_SECONDS
_MINUTE: Final = 60 / STEP_SECONDS


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong, from one point to another (excluded)."""

    start: int
    end: int


@dataclass(slots=True)
class Story:
    """One service: its signal, the requests in each point's window, and what is wrong with it."""

    values: Floats
    requests: Floats
    faults: list[Fault] = field(default_factory=list)


Teller: TypeAlias = Callable[[Random], Story]


def _traffic(random: Random, lowest: float = 0.5, highest: float = 500.0) -> Floats:
    """Requests a second: a daily wave with a second one, quieter weekends, slow and fast noise."""
    time = np.arange(POINTS) / DAY
    base = np.exp(random.uniform(np.log(lowest), np.log(highest)))
    phase = random.uniform(0, 1)
    wave = 1 + random.uniform(0.2, 0.7) * np.sin(2 * np.pi * (time - phase))
    wave += random.uniform(0, 0.2) * np.sin(4 * np.pi * (time - random.uniform(0, 1)))
    weekday = (np.floor(time + phase).astype(int) + random.integers(0, 7)) % 7
    wave *= np.where(weekday >= 5, random.uniform(0.4, 1.0), 1.0)
    trend = 1 + random.uniform(-0.02, 0.03) * time
    rate: Floats = base * np.maximum(wave, 0.05) * trend * _slow_noise(random, random.uniform(0.02, 0.08))
    return rate


def _slow_noise(random: Random, size: float) -> Floats:
    """Noise that lasts for minutes to an hour (AR(1)), around 1."""
    memory = np.exp(-STEP_SECONDS / random.uniform(300, 3600))
    shocks = random.normal(0, size * np.sqrt(1 - memory * memory), POINTS)
    noise = np.empty(POINTS)
    level = random.normal(0, size)
    for point, shock in enumerate(shocks):
        level = memory * level + shock
        noise[point] = level
    return np.exp(noise)


def _counts(random: Random, rate: Floats) -> Floats:
    """How many requests came in each window, more uneven than independent ones are."""
    mean = rate * WINDOW_POINTS * STEP_SECONDS
    uneven = random.gamma(200.0, 1 / 200.0, POINTS)
    counts: Floats = random.poisson(mean * uneven).astype(float)
    return counts


def _faults(random: Random, shortest_minutes: float, longest_minutes: float, chance: float = 0.6) -> list[Fault]:
    """None, one or two in the last day, hours apart."""
    faults: list[Fault] = []
    for half in range(2):
        if random.random() < chance:
            length = int(random.uniform(shortest_minutes, longest_minutes) * _MINUTE)
            first = (DAYS - 1) * DAY + half * DAY // 2 + random.integers(10, DAY // 2 - length - 60)
            faults.append(Fault(int(first), int(first) + length))
    return faults


def _shape(random: Random, fault: Fault, *, is_ramp: bool) -> Floats:
    """How much of a fault there is at each of its points, 0 to 1."""
    length = fault.end - fault.start
    shape = np.ones(length)
    if is_ramp:
        rise = max(1, int(length * random.uniform(0.3, 0.5)))
        shape[:rise] = np.linspace(0.05, 1, rise)
    return shape


def _with_gaps(random: Random, story: Story) -> Story:
    """Without some points: single ones, and whole stretches (restarts, failed scrapes, an outage of Prometheus)."""
    missing = random.random(POINTS) < 0.02
    for _ in range(random.integers(2, 6)):
        start = random.integers(0, POINTS - 60)
        missing[start : start + random.integers(2, 40)] = True
    for fault in story.faults:
        # A fault is not to be found in what nobody measured: at most a third of it is missing.
        kept = slice(fault.start, fault.end)
        missing[kept] &= random.random(fault.end - fault.start) < 0.3
    story.values[missing] = np.nan
    story.requests[missing] = np.nan
    return story


def _windowed(exact: Floats) -> Floats:
    """What a window of five minutes shows of what happens at each moment."""
    kernel = np.array([1.0, 1.0, 0.5]) / 2.5
    shown: Floats = np.convolve(exact, kernel)[: len(exact)]
    shown[:2] = exact[:2]
    return shown


def _errors(
    random: Random,
    *,
    traffic: tuple[float, float] = (0.5, 500.0),
    minutes: tuple[float, float] = (15, 120),
    size: tuple[float, float] = (0.10, 0.7),
    is_ramp: bool = False,
    chance: float = 0.6,
) -> Story:
    rate = _traffic(random, *traffic)
    requests = _counts(random, rate)
    usual = np.exp(random.uniform(np.log(1e-4), np.log(0.02)))
    ratio = usual * random.gamma(3.0, 1 / 3.0, POINTS) * _slow_noise(random, 0.3)
    faults = _faults(random, *minutes, chance=chance)
    for fault in faults:
        height = np.exp(random.uniform(*np.log(size)))
        ratio[fault.start : fault.end] += height * _shape(random, fault, is_ramp=is_ramp)
    failed = random.binomial(requests.astype(int), np.clip(_windowed(ratio), 0, 1))
    with np.errstate(invalid="ignore"):
        return Story(failed / requests, requests, faults)


def _latencies(
    random: Random,
    quantile: float,
    *,
    traffic: tuple[float, float] = (2.0, 500.0),
    minutes: tuple[float, float] = (15, 120),
    size: tuple[float, float] = (2.0, 8.0),
    is_ramp: bool = False,
    chance: float = 0.6,
    has_batch: bool = False,
    has_deployment: bool = False,
) -> Story:
    rate = _traffic(random, *traffic)
    requests = _counts(random, rate)
    level = np.exp(random.uniform(np.log(0.08), np.log(2.0)))
    load = rate / rate.max()
    latency = level * (1 + random.uniform(0, 0.5) * load) * _slow_noise(random, random.uniform(0.02, 0.08))
    if has_batch:  # every day at the same time
        start, length = random.integers(0, DAY - 40), random.integers(10, 30)
        for day in range(DAYS):
            begin = day * DAY + start + random.integers(-2, 3)
            latency[max(0, begin) : begin + length] *= random.uniform(2, 3)
    if has_deployment:  # a new version is somewhat faster or slower, for good
        latency[random.integers((DAYS - 1) * DAY, POINTS) :] *= random.uniform(0.75, 1.25)
    faults = _faults(random, *minutes, chance=chance)
    for fault in faults:
        factor = np.exp(random.uniform(*np.log(size)))
        latency[fault.start : fault.end] *= 1 + (factor - 1) * _shape(random, fault, is_ramp=is_ramp)
    # The spread of a quantile of n draws of a skewed distribution, and buckets of a histogram.
    beyond = np.maximum(requests * (1 - quantile), 0.25)
    noisy = _windowed(latency) * np.exp(random.normal(0, 1, POINTS) * np.minimum(0.6 / np.sqrt(beyond), 1.0))
    return Story(np.where(requests > 0, noisy, np.nan), requests, faults)


def _rates(
    random: Random,
    *,
    traffic: tuple[float, float] = (0.5, 500.0),
    minutes: tuple[float, float] = (15, 120),
    left: tuple[float, float] = (0.0, 0.35),
    is_ramp: bool = False,
    chance: float = 0.6,
    has_bursts: bool = False,
) -> Story:
    rate = _traffic(random, *traffic)
    if has_bursts:  # campaigns and crawlers: more traffic for a while, which then ends
        for _ in range(random.integers(2, 6)):
            start = random.integers(0, POINTS - 60)
            rate[start : start + random.integers(3, 45)] *= random.uniform(1.3, 1.8)
    faults = _faults(random, *minutes, chance=chance)
    for fault in faults:
        lost = 1 - random.uniform(*left)
        rate[fault.start : fault.end] *= 1 - lost * _shape(random, fault, is_ramp=is_ramp)
    requests = _counts(random, _windowed(rate))
    return Story(requests / (WINDOW_POINTS * STEP_SECONDS), requests, faults)


def _saturations(
    random: Random,
    *,
    minutes: tuple[float, float] = (20, 180),
    is_ramp: bool = False,
    chance: float = 0.6,
    has_batch: bool = False,
    has_many_cores: bool = False,
    has_spikes: bool = False,
) -> Story:
    rate = _traffic(random)
    load = rate / rate.max()
    usual = random.uniform(0.2, 0.7) * (0.3 + 0.7 * load)
    if has_many_cores:
        usual *= random.uniform(3, 8)
    use = usual * np.exp(random.normal(0, random.uniform(0.02, 0.08), POINTS))
    if has_batch:
        start, length = random.integers(0, DAY - 60), random.integers(15, 45)
        for day in range(DAYS):
            begin = day * DAY + start + random.integers(-2, 3)
            use[max(0, begin) : begin + length] = random.uniform(0.95, 1.0)
    if has_spikes:
        for _ in range(random.integers(10, 40)):
            use[random.integers(0, POINTS)] = 1.0
    faults = [] if has_many_cores else _faults(random, *minutes, chance=chance)
    for fault in faults:
        top = random.uniform(0.95, 1.05)
        shape = _shape(random, fault, is_ramp=is_ramp)
        during = use[fault.start : fault.end]
        use[fault.start : fault.end] = np.maximum(during, during + (top - during) * shape)
    return Story(_windowed(use), np.full(POINTS, np.nan), faults)


def _latency_kinds(quantile: float, size: tuple[float, float]) -> Mapping[str, Teller]:
    return {
        "level shift": lambda random: _latencies(random, quantile, size=size),
        "spike": lambda random: _latencies(random, quantile, minutes=(10, 20), size=(3, 10)),
        "ramp": lambda random: _latencies(random, quantile, minutes=(40, 150), size=(3, 8), is_ramp=True),
        "daily batch, no fault": lambda random: _latencies(random, quantile, chance=0, has_batch=True),
        "deployment and fault": lambda random: _latencies(random, quantile, size=size, has_deployment=True),
        "missing data": lambda random: _with_gaps(random, _latencies(random, quantile, size=size)),
        "little traffic, no fault": lambda random: _latencies(random, quantile, traffic=(0.02, 2.0), chance=0),
    }


KINDS: Final[Mapping[GoldenSignal, Mapping[str, Teller]]] = {
    GoldenSignal.ERROR_RATIO: {
        "level shift": _errors,
        "spike": lambda random: _errors(random, minutes=(8, 15), size=(0.2, 0.9)),
        "ramp": lambda random: _errors(random, minutes=(40, 150), size=(0.2, 0.7), is_ramp=True),
        "noise, no fault": lambda random: _errors(random, chance=0),
        "little traffic": lambda random: _errors(random, traffic=(0.05, 0.5), minutes=(30, 120), size=(0.3, 1.0)),
        "missing data": lambda random: _with_gaps(random, _errors(random)),
    },
    GoldenSignal.LATENCY_P95: _latency_kinds(0.95, (2.0, 8.0)),
    GoldenSignal.LATENCY_P99: _latency_kinds(0.99, (2.5, 8.0)),
    GoldenSignal.REQUEST_RATE: {
        "level shift": _rates,
        "spike": lambda random: _rates(random, minutes=(10, 20), left=(0.0, 0.2)),
        "ramp": lambda random: _rates(random, minutes=(40, 150), left=(0.0, 0.2), is_ramp=True),
        "season, no fault": lambda random: _rates(random, chance=0),
        "bursts": lambda random: _rates(random, has_bursts=True),
        "missing data": lambda random: _with_gaps(random, _rates(random)),
        "little traffic, no fault": lambda random: _rates(random, traffic=(0.01, 0.5), chance=0),
    },
    GoldenSignal.SATURATION: {
        "level shift": _saturations,
        "ramp": lambda random: _saturations(random, minutes=(60, 180), is_ramp=True),
        "daily batch, no fault": lambda random: _saturations(random, chance=0, has_batch=True),
        "many cores, no fault": lambda random: _saturations(random, has_many_cores=True),
        "single spikes and fault": lambda random: _saturations(random, has_spikes=True),
        "missing data": lambda random: _with_gaps(random, _saturations(random)),
    },
}
