"""What was measured, in tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from rich import box
from rich.console import Console
from rich.table import Table

from bench.contestants import BARE, ORM, OURS, POSTGRAPHILE
from bench.documents import Document


@dataclass(slots=True)
class Measurement:
    """One contestant on one query. The lists have one value a round; the latencies have one a request."""

    requests_per_second: list[float] = field(default_factory=list)
    server_cpu_seconds: list[float] = field(default_factory=list)
    postgres_cpu_seconds: list[float] = field(default_factory=list)
    latency_seconds: list[float] = field(default_factory=list)
    load_shares: list[float] = field(default_factory=list)
    rate: float = 0.0
    resident_bytes: int = 0


Measurements = dict[tuple[str, str], Measurement]  # by the names of document and contestant


def print_measurements(
    console: Console, documents: Sequence[Document], names: Sequence[str], measured: Measurements
) -> None:
    """A table a query."""
    for document in documents:
        table = _table(document.name)
        table.add_column("", min_width=14)
        for heading in ("req/s", "server µs", "postgres µs", "at req/s", "p50 ms", "p99 ms", "MB"):
            table.add_column(heading, justify="right", no_wrap=True)
        for name in names:
            one = measured[document.name, name]
            table.add_row(
                name,
                f"{median(one.requests_per_second):,.0f}",
                f"{median(one.server_cpu_seconds) * 1e6:,.0f}",
                f"{median(one.postgres_cpu_seconds) * 1e6:,.0f}",
                f"{one.rate:,.0f}",
                f"{median(one.latency_seconds) * 1e3:.2f}",
                f"{_percentile(one.latency_seconds, 99) * 1e3:.2f}",
                f"{one.resident_bytes / 1e6:,.0f}",
            )
        console.print(table)
    console.print(
        "req/s with every connection busy, and the CPU time that a request took of the server and of Postgres then;\n"
        "p50 and p99 at half that pace; memory of the server."
    )
    busiest = max(share for one in measured.values() for share in one.load_shares)
    console.print(f"The load generator never used more than {busiest:.0%} of a CPU.\n")


def print_ratios(console: Console, documents: Sequence[Document], names: Sequence[str], measured: Measurements) -> None:
    """Ours beside the others, the median of what each round says, and whether that is what was wanted."""
    if OURS not in names:
        console.print(f"[red]{OURS} did not run, so there is nothing to hold against the targets.[/red]")
        return
    table = _table("ours, as a multiple of")
    table.add_column("", min_width=14)
    for document in documents:
        table.add_column(document.name, justify="right")
    for other, row in ((ORM, _over_orm), (POSTGRAPHILE, _over_postgraphile), (BARE, _over_bare)):
        if other in names:
            cells = [
                row(document, measured[document.name, OURS], measured[document.name, other]) for document in documents
            ]
            table.add_row(f"{other}, {'server µs' if other == BARE else 'req/s'}", *cells)
    console.print(table)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _over_orm(document: Document, ours: Measurement, other: Measurement) -> str:
    return _at_least(_ratio(ours, other, _throughput), document.targets.over_orm)


def _over_postgraphile(document: Document, ours: Measurement, other: Measurement) -> str:
    return _at_least(_ratio(ours, other, _throughput), document.targets.over_postgraphile)


def _over_bare(document: Document, ours: Measurement, other: Measurement) -> str:
    return _at_most(_ratio(ours, other, _server_cpu), document.targets.over_bare_cpu)


def _throughput(measurement: Measurement) -> list[float]:
    return measurement.requests_per_second


def _server_cpu(measurement: Measurement) -> list[float]:
    return measurement.server_cpu_seconds


def _ratio(ours: Measurement, other: Measurement, values: Callable[[Measurement], list[float]]) -> float:
    return median(one / two for one, two in zip(values(ours), values(other), strict=True))


def _at_least(value: float, target: float) -> str:
    return _verdict(f"{value:.1f}", f"≥ {target:g}", value >= target)


def _at_most(value: float, target: float) -> str:
    return _verdict(f"{value:.2f}", f"≤ {target:g}", value <= target)


def _verdict(value: str, target: str, reached: bool) -> str:
    return f"[green]{value}[/green] {target}: reached" if reached else f"[red]{value}[/red] {target}: not reached"


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]
