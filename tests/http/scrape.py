"""Reading `/metrics` as Prometheus does."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


async def sample(http: httpx.AsyncClient, name: str, **labels: str) -> float:
    """The value of the sample with this name and these labels."""
    text = (await http.get("/metrics")).raise_for_status().text
    (found,) = (
        each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.name == name and each.labels == labels
    )
    return found
