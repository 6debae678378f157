"""How good is the model, and at what? Measured without gradients, on every token, trained or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskkit.engine.batches import Batcher, MicroBatch, every_prediction
from maskkit.engine.distributed import ALONE, Ranks
from maskkit.engine.predict import Predictor, Request
from maskkit.engine.weigh import weighed
from maskkit.errors import TrainingError
from maskkit.kinds import KINDS
from maskkit.loss import Predicted, weighted_sum
from maskkit.masker import Example, Masker


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model makes of a set of rows. All numbers are exact over all rows, never means of means; losses are in nats per token."""

    loss: float
    """Weighted mean under the strategy and the normalization."""
    kinds: dict[str, float] = field(default_factory=dict)
    """Mean cross-entropy of each segment kind that occurs, trained or not, every token counting once."""
    tokens: dict[str, int] = field(default_factory=dict)
    """How many predicted tokens each of these means is over."""
    accuracies: dict[str, float] = field(default_factory=dict)
    """Share of the same tokens that the model finds the most probable ones."""
    perplexity: float = math.nan
    """``exp(sum |w| * ce / sum |w|)`` over the trained tokens, whatever the normalization is."""
    accuracy: float = math.nan
    """Share of the trained tokens that the model finds the most probable ones, every token counting once."""

    @property
    def stop_accuracy(self) -> float | None:
        """Share of the tokens that end a turn which the model finds the most probable ones: does it know when to stop? None without any."""
        return self.accuracies.get("stop")


class KindTotals:
    """Adds up, for each segment kind, the cross-entropy and the hits (true tokens that were the most probable ones)."""

    def __init__(self) -> None:
        self._sums = torch.zeros(3, len(KINDS), dtype=torch.float64)

    def add(self, batch: MicroBatch, found: Predicted) -> None:
        """found: of `every_prediction` of the batch, with or without top1."""
        kinds = batch.kinds.flatten()[every_prediction(batch).predicted].cpu()
        losses = -found.log_prob.detach().cpu().double()
        hits = torch.zeros_like(losses) if found.top1 is None else found.top1.cpu().double()
        self._sums.index_add_(1, kinds, torch.stack([losses, hits, torch.ones_like(losses)]))

    def over(self, ranks: Ranks) -> KindTotals:
        """These, added up over all ranks."""
        totals = KindTotals()
        totals._sums = ranks.sum(self._sums)
        return totals

    def means(self) -> dict[str, float]:
        """Mean loss by name of kind, of kinds that occurred."""
        return self._shares(0)

    def accuracies(self) -> dict[str, float]:
        """Share of hits by name of kind."""
        return self._shares(1)

    def counts(self) -> dict[str, int]:
        """Tokens by name of kind."""
        return {KINDS[code]: int(self._sums[2, code]) for code in self._occurring()}

    def _shares(self, row: int) -> dict[str, float]:
        return {KINDS[code]: float(self._sums[row, code] / self._sums[2, code]) for code in self._occurring()}

    def _occurring(self) -> list[int]:
        return [code for code in range(len(KINDS)) if self._sums[2, code]]


class TrainedTotals:
    """Adds up what the trained tokens come to."""

    def __init__(self) -> None:
        self._sums = [0.0] * 6

    def add(self, batch: MicroBatch, log_probs: Tensor, top1: Tensor) -> None:
        """log_probs, top1 [N]: of the entries of the batch."""
        weight = batch.entries.weight.abs()
        count = torch.tensor(len(top1))
        loss = weighted_sum(log_probs, batch.coefficients), batch.denominator
        own = (*loss, weighted_sum(log_probs, weight), weight.sum(), top1.sum(), count)
        self._sums = [total + float(part) for total, part in zip(self._sums, own, strict=True)]

    def over(self, ranks: Ranks) -> list[float]:
        """Over all ranks: numerator and denominator of the loss, sum of ``|w| * ce``, of ``|w|``, hits, tokens."""
        return ranks.totals(*self._sums)


def evaluate(predict: Predictor, masker: Masker, batcher: Batcher, rows: Sequence[Example], ranks: Ranks = ALONE) -> Evaluation:
    """The exact weighted mean over ``rows`` under the strategy, and the mean of every kind. Every rank measures a part of the rows.

    Raises TrainingError if the strategy trains nothing of the rows, or the loss is not finite.
    """
    totals, trained = KindTotals(), TrainedTotals()
    with predict.evaluating():
        for batch in batcher.in_order(rows, lambda row: weighed(row, masker), ranks):
            every = every_prediction(batch)
            found = predict.scores(batch.tensors, Request(every, frozenset({"top1"})))
            assert found.top1 is not None
            totals.add(batch, found)
            # the entries that count are some of all predictions, in the same reading order
            counted = torch.isin(every.source, batch.entries.source, assume_unique=True)
            trained.add(batch, found.log_prob[counted], found.top1[counted])
    numerator, denominator, weighted, weight, hits, tokens = trained.over(ranks)
    totals = totals.over(ranks)
    if denominator == 0:
        raise TrainingError(f"evaluation: the strategy trains nothing of the {len(rows)} held-out rows, so they have no loss")
    loss = numerator / denominator
    if not math.isfinite(loss):
        raise TrainingError(f"evaluation: the loss on {len(rows)} held-out rows is {loss}, expected a finite number")
    perplexity = float(torch.tensor(weighted / weight, dtype=torch.float64).exp())  # infinite where it is too large for a float
    return Evaluation(loss, totals.means(), totals.counts(), totals.accuracies(), perplexity, hits / tokens)


def kind_losses(predict: Predictor, batch: MicroBatch, ranks: Ranks = ALONE) -> dict[str, float]:
    """Mean loss of each kind in one training batch of every rank. It needs no gradients, so training cost does not change."""
    totals = KindTotals()
    with predict.evaluating():
        totals.add(batch, predict.scores(batch.tensors, Request(every_prediction(batch))))
    return totals.over(ranks).means()
