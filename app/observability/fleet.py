"""The workers of one server, who tell each other their metrics: whichever is scraped answers for all of them.

Each worker listens on a Unix socket in a folder that all of them know, and says there what it counts. A merged sample
has the label `worker`, as those of several servers have `instance`: what is asked of several servers is right for
several workers. Sums would go back whenever a worker is replaced or late, and Prometheus takes that for new counts.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.samples import Exemplar, Sample

log = structlog.get_logger("reliability_studio.metrics")

PATIENCE_SECONDS: Final = 2.0
_MOST_BYTES: Final = 32 * 1024 * 1024
_NAME: Final = "metrics-{worker}.sock"
_UP: Final = "reliability_studio_worker_up"


class Merged(CollectorRegistry):
    """The metrics of all workers, as a registry that can be written."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """One family a name."""
        return iter(self._families)


class Fleet:
    """This worker among the others. `folder` is one for all workers of a server and nobody else, and short: a socket's
    path has at most 107 bytes.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder = folder
        self._worker = worker

    @asynccontextmanager
    async def listening(self, sampled: Callable[[], Awaitable[CollectorRegistry]]) -> AsyncGenerator[None]:
        """Tell the others what this worker counts, for as long as the block lasts."""
        path = self._folder / _NAME.format(worker=self._worker)

        async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    writer.write(_written(await sampled()))
                    await writer.drain()
            except (TimeoutError, OSError):
                log.warning("another worker did not take what this one counts", worker=self._worker)
            finally:
                writer.close()

        server = await asyncio.start_unix_server(tell, path)  # Takes the place of one that is there already.
        ours = path.stat().st_ino
        try:
            yield
        finally:
            server.close()
            with suppress(FileNotFoundError):
                if path.stat().st_ino == ours:  # Whoever replaces this worker may be here before it has gone.
                    path.unlink()

    async def merged(self, own: CollectorRegistry) -> Merged:
        """What all workers count. Who does not answer in time is missing, and said to be."""
        others = {worker: path for worker, path in self._sockets() if worker != self._worker}
        told = await asyncio.gather(*map(_ask, others.values()))
        by_worker: dict[int, Iterable[Metric] | None] = {
            self._worker: own.collect(),
            **dict(zip(others, told, strict=True)),
        }
        return Merged(_families(by_worker))

    def _sockets(self) -> Iterable[tuple[int, Path]]:
        for path in sorted(self._folder.glob(_NAME.format(worker="*"))):
            worker = path.stem.removeprefix("metrics-")
            if worker.isdigit():
                yield int(worker), path


async def _ask(path: Path) -> list[Metric] | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return _read(await _whole(reader))
            finally:
                writer.close()
    except (TimeoutError, OSError, ValueError, TypeError) as error:  # Another version may tell it in another form.
        log.warning("a worker does not tell what it counts", socket=path.name, reason=type(error).__name__)
        return None


async def _whole(reader: asyncio.StreamReader) -> bytes:
    told = bytearray()
    while chunk := await reader.read(1 << 16):
        told += chunk
        if len(told) > _MOST_BYTES:
            raise OSError("it tells more than anybody counts")
    return bytes(told)


def _families(by_worker: Mapping[int, Iterable[Metric] | None]) -> Iterable[Metric]:
    merged: dict[str, Metric] = {}
    up = GaugeMetricFamily(_UP, "Whether a worker of this server told what it counts.", labels=("worker",))
    for worker, families in sorted(by_worker.items()):
        up.add_metric((str(worker),), families is not None)
        for family in families or ():
            into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type, family.unit))
            into.samples += [
                sample._replace(labels={**sample.labels, "worker": str(worker)}) for sample in family.samples
            ]
    return [*merged.values(), up]


def _written(registry: CollectorRegistry) -> bytes:
    families = [
        [family.name, family.documentation, family.type, family.unit, [_of(sample) for sample in family.samples]]
        for family in registry.collect()
    ]
    return orjson.dumps(families, default=float)


def _of(sample: Sample) -> list[Any]:
    exemplar = sample.exemplar
    # Text, because JSON has neither NaN nor infinity.
    return [sample.name, sample.labels, repr(float(sample.value)), None if exemplar is None else list(exemplar)]


def _read(told: bytes) -> list[Metric]:
    families = []
    for name, documentation, kind, unit, samples in orjson.loads(told):
        family = Metric(name, documentation, kind, unit)
        family.samples = [
            Sample(sample, labels, float(value), None, None if exemplar is None else Exemplar(*exemplar))
            for sample, labels, value, exemplar in samples
        ]
        families.append(family)
    return families
