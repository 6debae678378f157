"""What does a mask do to behaviour? The same run under several strategies, side by side."""

from __future__ import annotations

from maskkit.inspect.compare.comparison import MEASURES, Comparison, Measure, Side, read_comparison
from maskkit.inspect.compare.trials import compare

__all__ = ["MEASURES", "Comparison", "Measure", "Side", "compare", "read_comparison"]
