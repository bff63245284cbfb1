"""The Pushgateway's API: where a batch job leaves its metrics before it ends.

It is for jobs that end before anybody could scrape them, and for nothing else. Samples are pushed without timestamps:
the Pushgateway refuses them, because what was pushed stays until it is replaced.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.prometheus import promql
from telemetry_clients.transport import Answer, Transport

_LONGEST_REASON: Final = 500


class Pushgateway:
    """A client of one Pushgateway. Every call raises TelemetryError and nothing else, at its deadline at the latest.

    A group is a job with further labels. All calls may be repeated without harm.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def push(
        self, registry: CollectorRegistry, *, job: str, grouping: Mapping[str, str] | None = None, deadline: Deadline
    ) -> None:
        """Replace the metrics of these names in a group, and leave its others alone."""
        answer = await self._transport.post_body(
            group_path(job, grouping),
            body=self._exposition(registry),
            content_type=CONTENT_TYPE_PLAIN_0_0_4,
            deadline=deadline,
            idempotent=True,
        )
        self._require_success(answer)

    async def replace(
        self, registry: CollectorRegistry, *, job: str, grouping: Mapping[str, str] | None = None, deadline: Deadline
    ) -> None:
        """Replace all metrics of a group."""
        answer = await self._transport.put(
            group_path(job, grouping),
            body=self._exposition(registry),
            content_type=CONTENT_TYPE_PLAIN_0_0_4,
            deadline=deadline,
            idempotent=True,
        )
        self._require_success(answer)

    async def delete(self, *, job: str, grouping: Mapping[str, str] | None = None, deadline: Deadline) -> None:
        """Delete a group with all its metrics. One that is not there is deleted already."""
        answer = await self._transport.delete(group_path(job, grouping), deadline=deadline, idempotent=True)
        self._require_success(answer)

    def _exposition(self, registry: CollectorRegistry) -> bytes:
        if any(sample.timestamp is not None for metric in registry.collect() for sample in metric.samples):
            raise TelemetryBadQuery("Pushgateway", "Metrics with timestamps cannot be pushed. Push them without.")
        return generate_latest(registry)

    def _require_success(self, answer: Answer) -> None:
        if answer.succeeded:
            return
        reason = answer.body[:_LONGEST_REASON].decode(errors="replace").strip()
        if answer.status == 400:
            raise TelemetryBadQuery("Pushgateway", f"The Pushgateway refused the metrics: {reason}")
        raise self._transport.refusal(answer, reason if answer.content_type.startswith("text/plain") else "")


def group_path(job: str, grouping: Mapping[str, str] | None = None) -> str:
    """The path of a group. Values that are empty or hold a slash are written in base64, which the label then says.

    Raises TelemetryBadQuery for a job without a name, or a label that cannot be one of a group.
    """
    if not job:
        raise TelemetryBadQuery("Pushgateway", "The job of a group needs a name.")
    labels = dict(grouping or {})
    if "job" in labels:
        raise TelemetryBadQuery("Pushgateway", "The label `job` is the group's job itself. Give it once.")
    parts = [_part("job", job)]
    parts += [_part(promql.label_name(label), labels[label]) for label in sorted(labels)]
    return "/metrics/" + "/".join(parts)


def _part(label: str, value: str) -> str:
    if value == "":
        return f"{label}@base64/="
    if "/" in value or value in (".", ".."):
        return f"{label}@base64/{urlsafe_b64encode(value.encode()).decode()}"
    return f"{label}/{quote(value, safe='')}"
