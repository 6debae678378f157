"""Loss modifiers at work: the weights of a step once the model has predicted.

Modifiers that look at one row at a time, or rank within a micro-batch, are asked between the forward and the backward pass of each
micro-batch. Where one ranks the whole global batch, the model first predicts all of it without gradients, every modifier is asked, and
the step goes on with the new weights as if the strategy had given them; tokens whose new weight is 0 then cost nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskkit.engine.batches import MicroBatch
from maskkit.engine.distributed import ALONE, Ranks
from maskkit.engine.predict import Predictor, Request
from maskkit.errors import StrategyError
from maskkit.loss import LossEntries, Normalizer, Predicted, checked, ratios, reweighted, sum_dtype
from maskkit.masker import Example
from maskkit.strategy import LossModifier, TokenScores
from maskkit.tokens import Tokens


class Reweighting:
    """The loss modifiers of a strategy. Without any, everything stays as it was and costs nothing."""

    def __init__(self, modifiers: Sequence[LossModifier], normalizer: Normalizer, predict: Predictor, ranks: Ranks = ALONE) -> None:
        self._modifiers, self._normalizer, self._predict, self._ranks = tuple(modifiers), normalizer, predict, ranks
        self._needs = frozenset().union(*(modifier.needs for modifier in self._modifiers))
        self._ahead = any(modifier.scope == "global-batch" for modifier in self._modifiers)
        self._total: Tensor | None = None

    @property
    def settled(self) -> bool:
        """Whether weights are known before the forward pass that makes gradients."""
        return self._ahead or not self._modifiers

    def check(self, rows: Iterable[Example]) -> None:
        """Raises DataError, naming the first row that lacks what a modifier reads."""
        carrying = [m for m in self._modifiers if m.token_columns or type(m).carry is not LossModifier.carry]
        for row in rows if carrying else ():
            if row.loss_weights.any():
                for modifier in carrying:
                    carried(modifier, row.tokens)

    def ahead(self, step: int, batches: Sequence[MicroBatch]) -> list[MicroBatch]:
        """The micro-batches of a step, with new weights if a modifier looks at the whole global batch. All ranks have to ask."""
        if not self._ahead:
            return list(batches)
        with self._predict.evaluating():
            found = [self._predict.scores(batch.tensors, Request(batch.entries, self._needs)) for batch in batches]
        new = self._whole(step, batches, found)
        parts = torch.split(new, [len(batch.entries) for batch in batches])
        return [self._with(batch, part) for batch, part in zip(batches, parts, strict=True)]

    def request(self, batch: MicroBatch) -> Request:
        """What the model is to be asked for."""
        return Request(batch.entries, coefficients=batch.coefficients) if self.settled else Request(batch.entries, self._needs)

    def __call__(self, step: int, batch: MicroBatch, found: Predicted) -> Tensor:
        """Factor of each entry's cross-entropy, float64 [N], now that the model has predicted."""
        if self.settled:
            return batch.coefficients
        scores = scores_of(batch, found.detached(), step)
        new = reweighted([(m, with_extras(scores, m, batch)) for m in self._modifiers], batch.entries.weight)
        if self._normalizer.by == "reweighted":
            part = self._normalizer.denominator(batch.entries, new)
            self._total = part if self._total is None else self._total + part
        return self._normalizer.coefficients(batch.entries, new)

    def rescale(self, step: int, model: Any, loss: float, denominator: Tensor) -> float:
        """The loss of the step, and the model's gradients, divided by what the new weights come to in place of ``denominator``.

        Under ``normalize_by: base``, and where that was known before, nothing is done. All ranks have to ask. Raises TrainingError if the
        new weights sum to zero.
        """
        total, self._total = self._total, None
        if total is None:
            return loss
        what = f"step {step}: normalization {self._normalizer.name!r} by the weights that loss modifiers give"
        factor = float(denominator / checked(self._ranks.sum(total), what))
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        return loss * factor

    def _whole(self, step: int, batches: Sequence[MicroBatch], found: Sequence[Predicted]) -> Tensor:
        """The new weights of this rank's tokens, micro-batch after micro-batch."""
        parts = [scores_of(batch, each, step) for batch, each in zip(batches, found, strict=True)]
        base = torch.cat([batch.entries.weight for batch in batches])
        everyones, new = self._ranks.gather(base), base.clone()
        for modifier in self._modifiers:
            seen = [with_extras(scores, modifier, batch) for scores, batch in zip(parts, batches, strict=True)]
            if modifier.scope == "global-batch":
                new *= self._ranks.own(ratios(modifier, joined(seen, self._ranks), everyones), len(base))
            else:
                new *= torch.cat([ratios(modifier, scores, batch.entries.weight) for scores, batch in zip(seen, batches, strict=True)])
        return new

    def _with(self, batch: MicroBatch, new: Tensor) -> MicroBatch:
        entries, kept = batch.entries, new != 0
        coefficients = self._normalizer.coefficients(entries, new)
        left = LossEntries(entries.source[kept], entries.target[kept], new[kept], entries.sequence[kept])
        denominator = self._normalizer.denominator(entries, new)
        return replace(batch, entries=left, coefficients=coefficients[kept], denominator=denominator)


def scores_of(batch: MicroBatch, found: Predicted, step: int) -> TokenScores:
    """What a modifier sees of a micro-batch, but for `TokenScores.extras`. found: detached."""
    entries = batch.entries
    return TokenScores(
        log_prob=found.log_prob,
        target=entries.target,
        row=_document(batch),
        kind=batch.kinds.flatten()[entries.predicted],
        step=step,
        entropy=found.entropy,
        top_entropy=found.top_entropy,
        top1=found.top1,
    )


def with_extras(scores: TokenScores, modifier: LossModifier, batch: MicroBatch) -> TokenScores:
    """The scores with what the modifier reads of the rows of the micro-batch. Raises DataError where a row lacks it."""
    document = _document(batch).cpu()
    position = batch.tensors["position_ids"].flatten()[batch.entries.predicted].cpu()
    columns: dict[str, Tensor] = {}
    for number in torch.unique(document).tolist():
        here = document == number
        for name, column in carried(modifier, batch.rows[number].tokens).items():
            if name not in columns:
                columns[name] = torch.full((len(document),), float("nan"), dtype=torch.float64)
            columns[name][here] = torch.from_numpy(column)[position[here]]
    weight = batch.entries.weight
    return replace(scores, extras={name: column.to(weight) for name, column in columns.items()})


def carried(modifier: LossModifier, tokens: Tokens) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """What a modifier reads of a row, by name: float64 [T] each. Raises StrategyError, naming modifier and row, for anything else."""
    columns = {name: np.array(column, np.float64) for name, column in modifier.carry(tokens).items()}
    for name, column in columns.items():
        if column.shape != (len(tokens),):
            raise StrategyError(
                f"loss modifier {modifier.label!r} carries {name!r} of shape {column.shape} for {tokens.record.source}, "
                f"expected ({len(tokens)},): one number per token"
            )
    return columns


def joined(parts: Sequence[TokenScores], ranks: Ranks) -> TokenScores:
    """The scores of all micro-batches on all ranks, rank after rank, with rows numbered apart. All ranks have to ask."""

    def together(columns: Sequence[Tensor]) -> Tensor:
        return ranks.gather(torch.cat(list(columns)))

    def on_request(columns: Sequence[Tensor | None]) -> Tensor | None:
        return None if columns[0] is None else together([column for column in columns if column is not None])

    names = {name for own in ranks.collect([name for part in parts for name in part.extras]) for name in own}
    nothing = parts[0].log_prob.new_zeros(0, dtype=sum_dtype(parts[0].log_prob.device))  # of a micro-batch without tokens
    before = [0, *accumulate(int(part.row.max()) + 1 if len(part) else 0 for part in parts)]
    return TokenScores(
        log_prob=together([part.log_prob for part in parts]),
        target=together([part.target for part in parts]),
        row=together([(part.row + first) * ranks.size + ranks.rank for part, first in zip(parts, before, strict=False)]),
        kind=together([part.kind for part in parts]),
        step=parts[0].step,
        extras={name: together([part.extras.get(name, nothing) for part in parts]) for name in sorted(names)},
        entropy=on_request([part.entropy for part in parts]),
        top_entropy=on_request([part.top_entropy for part in parts]),
        top1=on_request([part.top1 for part in parts]),
    )


def _document(batch: MicroBatch) -> Tensor:
    """For each entry, the number of its row in `MicroBatch.rows`."""
    return batch.tensors["document_ids"].flatten()[batch.entries.predicted]
