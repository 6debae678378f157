"""Sums over many micro-batches and all ranks, from which means are taken once: a mean of means is another number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from maskkit.errors import TrainingError
from maskkit.kinds import KINDS
from maskkit.loss import sum_dtype

_KINDS = len(KINDS)


class LossTotals:
    """Numerator and denominator of a weighted mean, and sum and count of the cross-entropy of each segment kind.

    Held in one vector on ``device``, so that one all-reduce brings all of it together.
    """

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2 + 2 * _KINDS, dtype=sum_dtype(device), device=device)

    def add(self, numerator: Tensor, denominator: Tensor) -> None:
        """The part of one micro-batch, two scalars."""
        self._sums[:2] += torch.stack([numerator, denominator]).detach().to(self._sums)

    def add_kinds(self, kinds: Tensor, log_probs: Tensor) -> None:
        """kinds [N]: codes of the kinds of tokens; log_probs [N]: of these tokens. Those of rows that fill up have no kind."""
        kinds = kinds.to(self._sums.device, torch.int64)
        kinds, log_probs = kinds[kinds < _KINDS], log_probs[kinds < _KINDS]
        self._sums[2 : 2 + _KINDS].index_add_(0, kinds, -log_probs.detach().to(self._sums))
        self._sums[2 + _KINDS :].index_add_(0, kinds, torch.ones_like(kinds).to(self._sums))

    def summed(self, reduce: Callable[[Tensor], Tensor]) -> LossTotals:
        """The totals of all ranks; to be called on each of them."""
        total = LossTotals(self._sums.device)
        total._sums = reduce(self._sums)
        return total

    @property
    def denominator(self) -> Tensor:
        """What the weighted sum is divided by: a scalar."""
        return self._sums[1]

    def loss(self, where: str) -> float:
        """The weighted mean. Raises TrainingError, naming ``where``, if nothing had a weight."""
        numerator, denominator = self._sums[:2].tolist()
        if denominator == 0:
            raise TrainingError(f"{where}: no token of the rows has a weight, or the weights cancel: there is no loss; take other rows")
        return float(numerator / denominator)

    def kinds(self) -> dict[str, float]:
        """Mean cross-entropy of each kind that occurred, every token counting once, by name."""
        sums, counts = self._sums[2 : 2 + _KINDS].tolist(), self._sums[2 + _KINDS :].tolist()
        return {name: total / count for name, total, count in zip(KINDS, sums, counts, strict=True) if count}
