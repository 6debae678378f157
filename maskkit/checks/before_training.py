"""The checks that every run begins with: a sample of its rows, a few milliseconds each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from maskkit.checks.linter import Linter
from maskkit.checks.report import LintFinding, LintReport
from maskkit.checks.row import row_of_example
from maskkit.checks.words import counted
from maskkit.errors import TrainingError

if TYPE_CHECKING:
    from maskkit.masker import Example, Masker


def check_before_training(
    examples: Sequence[Example],
    masker: Masker,
    *,
    sample: int,
    ignore: Iterable[str] = (),
    error: Iterable[str] = (),
    say: Callable[[str], None] = print,
) -> LintReport:
    """Check a sample of the rows that a run trains on.

    sample: how many, evenly spread. say: takes a line for each warning that the masker has not counted itself. ignore, error: as `Linter`
    takes them. Raises TrainingError for the first finding that is an error: its rows, what was found, what to do.
    """
    linter = Linter(masker.tokenizer, ignore=ignore, error=error)
    count = min(sample, len(examples))
    for number in range(count):
        linter.add(row_of_example(examples[number * len(examples) // count], masker.strategy))
    report = linter.report()
    for finding in report.errors:
        more = "" if len(report.errors) == 1 else f" (and {counted(len(report.errors) - 1, 'more sort')} of error)"
        raise TrainingError(f"{_said(finding, count)}: {finding.code.fix} Or set lint: {{ignore: [{finding.code.name}]}}{more}")
    for finding in report.of("warning"):
        if not masker.counts[finding.code.name]:
            say(_said(finding, count))
    return report


def _said(finding: LintFinding, count: int) -> str:
    first = finding.places[0]
    where = "" if first.source == "all rows" else f"{finding.rows} of {counted(count, 'row')} looked at, first {first.source}: "
    return f"{finding.code.number} {finding.code.name}: {finding.code.meaning} ({where}{first.message})"
