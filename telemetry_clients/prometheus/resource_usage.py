"""PromQL for what services use: processor, memory, network, disk, how often they were started anew, and who is up.

Only the past of the same service is worth comparing it with, since conventions differ in units. Each expression tries
metrics one after another (`or`), so that a service answers with the first that it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from telemetry_clients.prometheus import promql


class Resource(StrEnum):
    """What a service uses, what it lacks when it is started anew, and whether it is there at all."""

    CPU = "CPU"
    MEMORY = "MEMORY"
    NETWORK = "NETWORK"
    DISK = "DISK"
    RESTARTS = "RESTARTS"
    UP = "UP"


@dataclass(frozen=True, slots=True)
class _Usage:
    """Metrics, the preferred first, and what is done to each: `rate`, `increase`, `changes`, or nothing.

    `over_instances` is how those of a service's instances are put together.
    """

    metrics: Sequence[tuple[str, str]]
    over_instances: str = "sum"


_USAGES: Final[Mapping[Resource, _Usage]] = {
    Resource.CPU: _Usage(
        (
            ("container_cpu_usage_seconds_total", "rate"),
            ("process_cpu_seconds_total", "rate"),
            ("process_cpu_time_seconds_total", "rate"),
        )
    ),
    Resource.MEMORY: _Usage(
        (
            ("container_memory_working_set_bytes", ""),
            ("process_resident_memory_bytes", ""),
            ("process_memory_usage_bytes", ""),
            ("jvm_memory_used_bytes", ""),
        )
    ),
    Resource.NETWORK: _Usage(
        (
            ("container_network_receive_bytes_total", "rate"),
            ("process_network_receive_bytes_total", "rate"),
        )
    ),
    Resource.DISK: _Usage(
        (
            ("container_fs_writes_bytes_total", "rate"),
            ("process_disk_io_bytes_total", "rate"),
        )
    ),
    Resource.RESTARTS: _Usage(
        (
            ("kube_pod_container_status_restarts_total", "increase"),
            ("process_start_time_seconds", "changes"),
        )
    ),
    Resource.UP: _Usage((("up", ""),), "avg"),
}


def usage(resource: Resource, label: str, values: Sequence[str], *, window_seconds: float) -> str:
    """What services use of a resource, those for which `label` has one of `values`: one series for each value.

    Raises TelemetryBadQuery for a label or a value that cannot be expressed.
    """
    matcher = promql.any_of(label, values)
    window = promql.duration(window_seconds)
    parts = []
    wanted = _USAGES[resource]
    for metric, function in wanted.metrics:
        series = promql.selector(metric, matcher)
        seen = f"{function}({series}[{window}])" if function else series
        parts.append(f"{wanted.over_instances} by ({label}) ({seen})")
    return "\nor\n".join(parts)
