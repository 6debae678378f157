"""How good is the model, and at what? Measured without gradients, on every token, trained or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskkit.engine.batches import Batcher, MicroBatch, every_prediction
from maskkit.engine.distributed import ALONE, Ranks
from maskkit.engine.predict import Predictor
from maskkit.engine.weigh import weighed
from maskkit.errors import TrainingError
from maskkit.kinds import KINDS
from maskkit.loss import weighted_sum
from maskkit.masker import Example, Masker


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Losses over a set of rows, in nats per token."""

    loss: float
    """Weighted mean under the strategy and the normalization, exact over all rows (not a mean of means)."""
    kinds: dict[str, float] = field(default_factory=dict)
    """Mean cross-entropy of each segment kind that occurs, trained or not, every token counting once."""
    tokens: dict[str, int] = field(default_factory=dict)
    """How many predicted tokens each of these means is over."""


class KindTotals:
    """Adds up the cross-entropy of each segment kind over batches."""

    def __init__(self) -> None:
        self._sums = torch.zeros(len(KINDS), dtype=torch.float64)
        self._counts = torch.zeros(len(KINDS), dtype=torch.int64)

    def add(self, batch: MicroBatch, log_probs: Tensor) -> None:
        """log_probs [M]: of `every_prediction` of the batch."""
        kinds = batch.kinds.flatten()[every_prediction(batch).predicted].cpu()
        self._sums.index_add_(0, kinds, -log_probs.detach().cpu().double())
        self._counts.index_add_(0, kinds, torch.ones_like(kinds))

    def over(self, ranks: Ranks) -> KindTotals:
        """These, added up over all ranks."""
        totals = KindTotals()
        totals._sums, totals._counts = ranks.sum(self._sums), ranks.sum(self._counts)
        return totals

    def means(self) -> dict[str, float]:
        """Mean by name of kind, of kinds that occurred."""
        return {KINDS[code]: float(self._sums[code] / self._counts[code]) for code in self._counts.nonzero()[:, 0].tolist()}

    def counts(self) -> dict[str, int]:
        """Tokens by name of kind."""
        return {KINDS[code]: int(self._counts[code]) for code in self._counts.nonzero()[:, 0].tolist()}


def evaluate(predict: Predictor, masker: Masker, batcher: Batcher, rows: Sequence[Example], ranks: Ranks = ALONE) -> Evaluation:
    """The exact weighted mean over ``rows`` under the strategy, and the mean of every kind.

    Raises TrainingError if the strategy trains nothing of the rows, or the loss is not finite.
    """
    totals = KindTotals()
    numerator = denominator = 0.0
    with predict.evaluating():
        for batch in batcher.in_order(rows, lambda row: weighed(row, masker), ranks):
            every = every_prediction(batch)
            log_probs = predict(batch.tensors, every)
            totals.add(batch, log_probs)
            # the entries that count are some of all predictions, in the same reading order
            counted = torch.isin(every.source, batch.entries.source, assume_unique=True)
            numerator += float(weighted_sum(log_probs[counted], batch.coefficients))
            denominator += float(batch.denominator)
    numerator, denominator = ranks.totals(numerator, denominator)
    totals = totals.over(ranks)
    if denominator == 0:
        raise TrainingError(f"evaluation: the strategy trains nothing of the {len(rows)} held-out rows, so they have no loss")
    loss = numerator / denominator
    if not math.isfinite(loss):
        raise TrainingError(f"evaluation: the loss on {len(rows)} held-out rows is {loss}, expected a finite number")
    return Evaluation(loss, totals.means(), totals.counts())


def kind_losses(predict: Predictor, batch: MicroBatch, ranks: Ranks = ALONE) -> dict[str, float]:
    """Mean loss of each kind in one training batch of every rank. It needs no gradients, so training cost does not change."""
    totals = KindTotals()
    with predict.evaluating():
        totals.add(batch, predict(batch.tensors, every_prediction(batch)))
    return totals.over(ranks).means()
