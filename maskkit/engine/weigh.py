"""From planned row numbers to weighed rows: here the strategy is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maskkit.engine.plan import Plan
from maskkit.masker import Example, Masker

Packs = list[list[Example]]
"""The rows of a micro-batch, pack by pack."""

Weigh = Callable[[Sequence[Plan]], list[Packs]]
"""Takes the plans of a step and gives their rows, in the same order, with the weights that the strategy gives them now."""


class Weigher:
    """Rows in memory, weighed anew each time they are asked for."""

    def __init__(self, rows: Sequence[Example], masker: Masker) -> None:
        self._rows, self._masker = rows, masker

    def __call__(self, plans: Sequence[Plan]) -> list[Packs]:
        """The rows of ``plans``, weighed. Raises StrategyError, naming strategy, row and token, for a weight that is none."""
        return [[[weighed(self._rows[number], self._masker) for number in pack] for pack in plan] for plan in plans]


def weighed(row: Example, masker: Masker) -> Example:
    """The row with the weights that the masker's strategy gives it now. Raises StrategyError where that is no weight."""
    return Example(row.tokens.ids, masker.weigh(row.tokens), row.tokens)
