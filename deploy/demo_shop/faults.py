"""What can be broken, and what is broken now."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Something that goes wrong in production sooner or later."""

    SLOW_DATABASE = "slow-database"
    BAD_DEPLOY = "bad-deploy"
    ERROR_BURST = "error-burst"
    MEMORY_LEAK = "memory-leak"
    DEAD_DEPENDENCY = "dead-dependency"


@dataclass(frozen=True, slots=True)
class Lesson:
    """Where a fault sits, and what there is to see of it."""

    services: tuple[str, ...]
    does: str
    look: str


LESSONS: Final = {
    Fault.SLOW_DATABASE: Lesson(
        ("catalog", "inventory"),
        "Statements of catalog and inventory take half a second longer.",
        "Catalog, inventory and all above them are slow; the database span is the critical path of a trace.",
    ),
    Fault.BAD_DEPLOY: Lesson(
        ("checkout",),
        "checkout is deployed as 1.5.0, which fails for four orders in ten. Healing rolls it back.",
        "The error ratio of checkout jumps right after a deployment on its timeline.",
    ),
    Fault.ERROR_BURST: Lesson(
        ("payments",),
        "Six payments in ten are refused, because the card network answers 503.",
        "Errors begin in payments; checkout and storefront only pass them on, as the traces show.",
    ),
    Fault.MEMORY_LEAK: Lesson(
        ("inventory",),
        "inventory keeps half a megabyte for each reservation. At its limit of 64 MiB it is killed and restarted.",
        "The memory of inventory is a saw, and each tooth ends in a few seconds of 503.",
    ),
    Fault.DEAD_DEPENDENCY: Lesson(
        ("shipping",),
        "shipping listens no more: connections are refused.",
        "`up` is 0 for shipping, and checkout answers 502.",
    ),
}


class Faults:
    """Which faults are switched on, each until a time of the clock or for good."""

    def __init__(self, clock_seconds: Callable[[], float]) -> None:
        self._clock_seconds = clock_seconds
        self._until: dict[Fault, float] = {}

    def switch_on(self, fault: Fault, seconds: float | None) -> None:
        """Break something, for a time or until it is healed."""
        self._until[fault] = float("inf") if seconds is None else self._clock_seconds() + seconds

    def switch_off(self, fault: Fault) -> None:
        """Heal it; what is healthy stays so."""
        self._until.pop(fault, None)

    def is_on(self, fault: Fault) -> bool:
        """Whether it is broken now."""
        return self._until.get(fault, 0) > self._clock_seconds()

    def is_known(self, fault: Fault) -> bool:
        """Whether it was switched on and not off since, be its time over or not."""
        return fault in self._until
