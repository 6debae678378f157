"""A report for a terminal: worst first, coloured by severity, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from maskkit.checks import LintFinding, LintReport, Place
from maskkit.checks.words import counted
from maskkit.findings import SEVERITIES, Severity
from maskkit.pages.visible import visible

COLORS: dict[Severity, str] = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def draw(report: LintReport) -> Iterator[RenderableType]:
    """The lines to print; the terminal wraps them, indented as they are."""
    for finding in report.findings:
        yield from _finding(finding, report.rows)
        yield Text()
    yield from _totals(report)
    yield Text()
    yield summary(report)


def _finding(finding: LintFinding, rows: int) -> Iterator[RenderableType]:
    concerned = f"{finding.rows:,} of {counted(rows, 'row')}"
    head = Text.assemble((f"{finding.severity} {finding.code.number} {finding.code.name}", COLORS[finding.severity]))
    yield head if finding.places[0].source == "all rows" else head.append(f"   {concerned}")
    yield _indented(Text(visible(finding.code.meaning)), 2)
    for place in finding.places:
        yield from _place(place)
    if finding.rows > len(finding.places):
        yield _indented(Text(f"… and {finding.rows - len(finding.places)} more", style="dim"), 4)
    yield _indented(Text.assemble(("fix: ", "bold"), finding.code.fix), 2)


def _place(place: Place) -> Iterator[RenderableType]:
    yield _indented(Text.assemble((visible(place.source), "bold"), f": {visible(place.message)}"), 4)
    if place.excerpt:
        yield _indented(Text(visible(place.excerpt), style="dim"), 6)


def _indented(text: Text, by: int) -> RenderableType:
    return Padding(text, (0, 0, 0, by), expand=False)


def _totals(report: LintReport) -> Iterator[Text]:
    yield Text(f"{'kind':<11} {'tokens':>9}  trained    weight", style="bold")
    for kind, total in report.kinds.items():
        share = abs(total.weight) / report.weight if report.weight else 0.0
        yield Text(f"{kind:<11} {total.tokens:>9} {_percent(total.trained / total.tokens):>8} {_percent(share):>9}")


def _percent(share: float) -> str:
    """Whole per cent; what is not nothing does not look like it."""
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def summary(report: LintReport) -> Text:
    """How much was looked at, and how many findings of each severity there are."""
    counts = [(severity, len(report.of(severity))) for severity in SEVERITIES]
    found = ", ".join(counted(count, severity) for severity, count in counts if count) or "nothing found"
    worst = next((COLORS[severity] for severity, count in counts if count), "bold green")
    share = _percent(report.trained / report.tokens) if report.tokens else "none"
    return Text.assemble((found, worst), f" in {counted(report.rows, 'row')} of {counted(report.tokens, 'token')}, {share} of them trained")
