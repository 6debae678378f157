"""What can be wrong with a row and its mask: checks on token tables and weights, and the report that adds them up.

`row` (a row as checks see it), then the checks by what they look at: `mask`, `labels`, `weights`, `text`, `messages`; `linter` runs them
over rows and makes a `report`. Training runs them before its first step; `maskkit.inspect.lint` runs them on anything.
"""

from __future__ import annotations

from maskkit.checks.before_training import check_before_training
from maskkit.checks.linter import Linter
from maskkit.checks.report import KindTotal, LintFinding, LintReport, Place
from maskkit.checks.row import MaskedRow, Seen, row_of_example

__all__ = ["KindTotal", "LintFinding", "LintReport", "Linter", "MaskedRow", "Place", "Seen", "check_before_training", "row_of_example"]
