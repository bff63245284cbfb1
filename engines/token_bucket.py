"""Token buckets, as the moment at which each is full again (the Generic Cell Rate Algorithm, ITU-T I.371, annex A).

A bucket fills evenly and holds what fills it in `burst_seconds`. To take from it is to move the moment at which it is
full again; so amounts that are taken at different places can be added up, in any order.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast buckets fill, in units per second, and how long an empty one takes to be full."""

    units_per_second: float
    burst_seconds: float

    @property
    def capacity(self) -> float:
        """What a full bucket holds."""
        return self.units_per_second * self.burst_seconds

    def wait_seconds(self, full_at: float, units: float, now: float) -> float:
        """How long until so many units can be taken from a bucket; not positive where they can be now.

        Who asks for more than a bucket holds has to wait until it is full, and no longer.
        """
        if full_at <= now:
            return 0.0
        return min(full_at - now, full_at - now + units / self.units_per_second - self.burst_seconds)

    def remaining(self, full_at: float, now: float) -> float:
        """How many units are in a bucket."""
        return max(0.0, self.burst_seconds - max(0.0, full_at - now)) * self.units_per_second
