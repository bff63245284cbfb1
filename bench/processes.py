"""What processes use, as Linux counts it in /proc, and on which CPUs they may run."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> set[int]:
    """A process and everything that it started."""
    children: dict[int, list[int]] = {}
    for process, fields in _statistics(int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()):
        children.setdefault(int(fields[1]), []).append(process)
    found, waiting = {pid}, [pid]
    while waiting:
        started = children.get(waiting.pop(), [])
        found.update(started)
        waiting.extend(started)
    return found


def parent(pid: int) -> int:
    """The process that started this one."""
    ((_, fields),) = _statistics([pid])
    return int(fields[1])


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far, with that of their children that have ended."""
    return sum(int(field) for _, fields in _statistics(pids) for field in fields[11:15]) / _TICKS_PER_SECOND


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory that these processes hold now."""
    return sum(int(fields[21]) for _, fields in _statistics(pids)) * _PAGE_BYTES


def pin(pids: Iterable[int], cpus: set[int]) -> None:
    """Let these processes, and whatever they start from now on, run on these CPUs only."""
    for pid in pids:
        with suppress(FileNotFoundError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(task.name), cpus)


def divide_cpus() -> tuple[set[int], set[int]]:
    """One CPU for the server that is measured and one for the load, where there are two. Postgres may use all.

    Pinned to the load's CPU, Postgres itself would be the limit of every list; with nothing pinned at all, the server's
    CPU time per request wavers twice as much.
    """
    cpus = sorted(os.sched_getaffinity(0))
    return ({cpus[-1]}, {cpus[0]}) if len(cpus) > 1 else (set(cpus), set(cpus))


def _statistics(pids: Iterable[int]) -> Iterator[tuple[int, list[str]]]:
    """Each living process with its fields of proc(5), from the state on."""
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            # The command comes before, in brackets, and may hold spaces and brackets.
            yield pid, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
