"""What `reliability-studio check` found, as tables for the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.check import Finding, Report
from app.observability.redaction import Redactor


def show_report(report: Report, redactor: Redactor) -> None:
    """Print whether each backend works, and which signals there are of each service."""
    _show_findings(report.findings, redactor)
    _show_signals(report)


def _show_findings(findings: Sequence[Finding], redactor: Redactor) -> None:
    words = {True: "[green]works[/]", False: "[bold red]fails[/]", None: "[dim]not configured[/]"}
    table = Table("what", "", "version", "latency", "remark", box=None, pad_edge=False)
    for finding in findings:
        word = words[finding.works]
        latency = "" if finding.latency_seconds is None else f"{finding.latency_seconds * 1000:.1f} ms"
        table.add_row(
            finding.subject, word, escape(finding.version or ""), latency, escape(redactor.text(finding.remark))
        )
    Console(highlight=False, soft_wrap=True).print(table)


def _show_signals(report: Report) -> None:
    """Which golden signals each service has, and where they are."""
    if not report.signals:
        return
    table = Table("service", "golden signals in Prometheus", box=None, pad_edge=False)
    unanswered: dict[str, list[str]] = {}
    for finding in report.signals:
        if finding.problem:
            unanswered.setdefault(finding.problem, []).append(finding.service)
            continue
        by_place: dict[str, list[str]] = {}
        for signal, place in finding.found.items():
            by_place.setdefault(place, []).append(signal.lower())
        lacking = by_place.pop("", [])
        lines = [f"{', '.join(signals)}: {place}" for place, signals in by_place.items()]
        if lines and lacking:
            lines.append(f"not found: {', '.join(lacking)}")
        table.add_row(escape(finding.service), escape("; ".join(lines) or "none found"))
    for problem, services in unanswered.items():
        table.add_row(escape(", ".join(services)), escape(problem))
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    console.print(table)
    if report.services_left_out:
        console.print(f"{report.services_left_out} more services were not looked for.")
