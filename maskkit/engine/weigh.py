"""From planned row numbers to weighed rows: here the strategy is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from maskkit.engine.order import EpochOrder
from maskkit.engine.plan import Plan
from maskkit.engine.rows import StoredRows
from maskkit.masker import Example, Masker
from maskkit.masker.pool import WorkerPool

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


class PooledWeigher:
    """Rows in memory, weighed in worker processes, which are ahead of training by some steps.

    order: that of the run. They follow a copy of it from where the first call finds it, so its own position is that of what was trained.
    per_step: how many plans a step takes, of which ``part`` are this process's.
    """

    def __init__(
        self, rows: StoredRows, pool: WorkerPool, order: EpochOrder, per_step: int, part: Callable[[Sequence[Plan]], Sequence[Plan]]
    ) -> None:
        self._rows, self._pool, self._order, self._per_step, self._part = rows, pool, order, per_step, part
        self._weights: Iterator[list[npt.NDArray[np.float32]]] | None = None

    def __call__(self, plans: Sequence[Plan]) -> list[Packs]:
        """The rows of ``plans``, the ones after those of the last call, weighed."""
        if self._weights is None:
            self._weights = self._pool.weigh(self._contents(step) for step in chain([plans], self._steps()))
        weights = iter(next(self._weights))
        return [[[self._weighed(number, next(weights)) for number in pack] for pack in plan] for plan in plans]

    def _steps(self) -> Iterator[Sequence[Plan]]:
        ahead = self._order.copy()
        while True:
            yield self._part(ahead.take(self._per_step))

    def _contents(self, plans: Sequence[Plan]) -> list[bytes]:
        return [self._rows.content(number) for plan in plans for pack in plan for number in pack]

    def _weighed(self, number: int, weights: npt.NDArray[np.float32]) -> Example:
        tokens = self._rows[number].tokens
        return Example(tokens.ids, weights, tokens)


def weighed(row: Example, masker: Masker) -> Example:
    """The row with the weights that the masker's strategy gives it now. Raises StrategyError where that is no weight."""
    return Example(row.tokens.ids, masker.weigh(row.tokens), row.tokens)
