"""What was measured of subscriptions, in tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from rich import box
from rich.console import Console
from rich.table import Table

CPU_SECONDS = 20e-6
P50_SECONDS = 0.050
P99_SECONDS = 0.150
IDLE_SUBSCRIPTIONS = 5_000
IDLE_BYTES = 250e6


@dataclass(frozen=True, slots=True)
class Delivered:
    """Events as fast as they can be written: how many frames in which time, and CPU time of the server for all."""

    deliveries: int
    seconds: float
    cpu_seconds: float
    load_share: float
    """Of one CPU, what the subscribers used."""

    @property
    def cpu_each(self) -> float:
        """CPU seconds of the server for one delivery."""
        return self.cpu_seconds / self.deliveries


@dataclass(frozen=True, slots=True)
class Latency:
    """Events at an even pace: seconds from commit to frame of each delivery, and CPU time of the server for all."""

    seconds: Sequence[float]
    cpu_seconds: float

    @property
    def cpu_each(self) -> float:
        """CPU seconds of the server for one delivery."""
        return self.cpu_seconds / len(self.seconds)

    def percentile(self, percent: int) -> float:
        """Seconds that so many of a hundred deliveries did not take."""
        return quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class Idle:
    """Memory of the server without subscriptions, and with them."""

    subscriptions: int
    base_bytes: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One contestant."""

    one_stream: Delivered
    own_streams: Delivered
    few_to_many: Latency
    many_to_few: Latency
    idle: Idle


def print_measured(console: Console, measured: Mapping[str, Measured]) -> None:
    """A table of throughput, one of latencies, one of memory."""
    table = _table("as fast as events can be written", "deliveries/s", "server µs each")
    for title in ("one stream", "own streams"):
        for name, one in measured.items():
            found = one.one_stream if title == "one stream" else one.own_streams
            table.add_row(title, name, f"{found.deliveries / found.seconds:,.0f}", f"{found.cpu_each * 1e6:,.1f}")
    console.print(table)
    table = _table("from commit to frame", "p50 ms", "p99 ms", "server µs each")
    for title in ("5/s to 1 000", "500/s to 20"):
        for name, one in measured.items():
            paced = one.few_to_many if title == "5/s to 1 000" else one.many_to_few
            table.add_row(
                title,
                name,
                f"{paced.percentile(50) * 1e3:,.1f}",
                f"{paced.percentile(99) * 1e3:,.1f}",
                f"{paced.cpu_each * 1e6:,.1f}",
            )
    console.print(table)
    table = _table("idle subscriptions", "MB without", "MB", "kB each")
    for name, one in measured.items():
        idle = one.idle
        each = (idle.bytes - idle.base_bytes) / idle.subscriptions
        table.add_row(
            f"{idle.subscriptions:,}",
            name,
            f"{idle.base_bytes / 1e6:,.1f}",
            f"{idle.bytes / 1e6:,.1f}",
            f"{each / 1e3:,.1f}",
        )
    console.print(table)
    busiest = max(found.load_share for one in measured.values() for found in (one.one_stream, one.own_streams))
    console.print(f"The subscribers never used more than {busiest:.0%} of a CPU.\n")


def print_verdicts(
    console: Console, measured: Mapping[str, Measured], ours_name: str, stock_name: str, *, idle: int
) -> None:
    """What is wanted of ours, and whether it is so."""
    ours = measured[ours_name]
    console.print("What is wanted of ours:")
    paced = ours.few_to_many
    for title, one in (("events as they come", ours.one_stream.cpu_each), ("5 events/s", paced.cpu_each)):
        _say(console, f"CPU of a delivery on one stream, {title}", one * 1e6, CPU_SECONDS * 1e6, "µs")
    for title, latency in (("5/s to 1 000", paced), ("500/s to 20", ours.many_to_few)):
        _say(console, f"p50, {title}", latency.percentile(50) * 1e3, P50_SECONDS * 1e3, "ms")
        _say(console, f"p99, {title}", latency.percentile(99) * 1e3, P99_SECONDS * 1e3, "ms")
    if idle == IDLE_SUBSCRIPTIONS:
        _say(console, f"memory with {idle:,} idle subscriptions", ours.idle.bytes / 1e6, IDLE_BYTES / 1e6, "MB")
    if (stock := measured.get(stock_name)) is not None:
        console.print(f"\nCPU of {stock_name}, as a multiple of ours:")
        for title, one, other in (
            ("one stream", ours.one_stream.cpu_each, stock.one_stream.cpu_each),
            ("own streams", ours.own_streams.cpu_each, stock.own_streams.cpu_each),
            ("5/s to 1 000", paced.cpu_each, stock.few_to_many.cpu_each),
            ("500/s to 20", ours.many_to_few.cpu_each, stock.many_to_few.cpu_each),
        ):
            console.print(f"  {title}: {other / one:.1f}", highlight=False)


def _say(console: Console, what: str, value: float, most: float, unit: str) -> None:
    verdict = "[green]reached[/green]" if value <= most else "[red]not reached[/red]"
    console.print(f"  {what}: {value:,.1f} {unit} (≤ {most:g}) {verdict}", highlight=False)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", min_width=14)
    table.add_column("", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
