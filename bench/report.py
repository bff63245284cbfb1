"""What was measured, in tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from rich import box
from rich.console import Console
from rich.table import Table

from bench.contestants import BARE, ORM, OURS, POSTGRAPHILE
from bench.documents import Document, Targets


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
        "req/s with every connection busy, and the CPU time that a request took of the server and of Postgres then; "
        "p50 and p99 at half that pace; memory of the server."
    )
    busiest = max(share for one in measured.values() for share in one.load_shares)
    console.print(f"The load generator never used more than {busiest:.0%} of a CPU.\n")


def print_ratios(console: Console, documents: Sequence[Document], names: Sequence[str], measured: Measurements) -> None:
    """Ours beside the others, the median of what each round says, and whether that is what was wanted."""
    if OURS not in names:
        console.print(f"[red]{OURS} did not run, so there is nothing to hold against the targets.[/red]")
        return
    table = _table("ours, as a multiple of theirs, and what is wanted")
    table.add_column("")
    others = [other for other in (ORM, POSTGRAPHILE, BARE) if other in names]
    for other in others:
        table.add_column(f"{other}, {'server µs' if other == BARE else 'req/s'}", justify="right")
    for document in documents:
        cells = [_cell(document.targets, other, document.name, measured) for other in others]
        table.add_row(document.name, *cells)
    console.print(table)


def _cell(targets: Targets, other: str, document: str, measured: Measurements) -> str:
    ours, theirs = measured[document, OURS], measured[document, other]
    if other == BARE:
        ratio = _ratio(ours.server_cpu_seconds, theirs.server_cpu_seconds)
        return _verdict(f"{ratio:.2f} (≤ {targets.over_bare_cpu:g})", ratio <= targets.over_bare_cpu)
    target = targets.over_orm if other == ORM else targets.over_postgraphile
    ratio = _ratio(ours.requests_per_second, theirs.requests_per_second)
    return _verdict(f"{ratio:.1f} (≥ {target:g})", ratio >= target)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of what each round says: two turns of one round met the same weather."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def _verdict(ratio: str, reached: bool) -> str:
    return f"[green]{ratio} reached[/green]" if reached else f"[red]{ratio} not reached[/red]"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]
