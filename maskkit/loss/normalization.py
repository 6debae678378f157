"""What the weighted sum of losses is divided by.

    weights     sum(w * ce) / sum(w)                     the weighted mean over tokens (the default)
    absolute    sum(w * ce) / sum(|w|)                   the same for strategies with negative weights
    tokens      sum(w * ce) / count(w != 0)              a weight scales the loss of its token
    sequences   mean over sequences of sum(w * ce) / sum(w) within the sequence; sequences that train nothing are not counted

Where loss modifiers give new weights, w in the numerators is the new weight, and `NORMALIZE_BY` says which one it is below the line. Which
tokens and sequences are trained is decided by the strategy's own weights, those before any modifier.

All sums run over the *global batch*: every micro-batch, on every rank, of one optimizer step. Each of the four is
``sum(coefficient * ce) / denominator``, where both coefficient and denominator of a micro-batch are known from its weights alone. So a
trainer adds up the denominators of all micro-batches before the first backward pass, and nothing is ever divided twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskkit.errors import TrainingError, UnknownNameError
from maskkit.loss.entries import LossEntries, sum_dtype

NORMALIZATIONS: tuple[str, ...] = ("weights", "absolute", "tokens", "sequences")
"""Names of all normalizations."""

NORMALIZE_BY: tuple[str, ...] = ("base", "reweighted")
"""Weights below the line: those of the strategy, known before any backward pass, or those that loss modifiers give."""


class Normalizer:
    """One normalization by name: what each token's loss is multiplied by, and what the sum is divided by. by: a name of `NORMALIZE_BY`.

    Raises UnknownNameError for a name that does not exist.
    """

    def __init__(self, name: str = "weights", by: str = "base") -> None:
        if name not in NORMALIZATIONS:
            raise UnknownNameError("normalization", name, NORMALIZATIONS)
        if by not in NORMALIZE_BY:
            raise UnknownNameError("normalize_by", by, NORMALIZE_BY)
        self.name, self.by = name, by

    def __repr__(self) -> str:
        return f"Normalizer({self.name!r}, by={self.by!r})"

    def coefficients(self, entries: LossEntries, new: Tensor | None = None) -> Tensor:
        """Factor of each entry's cross-entropy in the numerator, [N]. new [N]: the weights that loss modifiers give, if there are any.

        A sequence must lie whole in one micro-batch. Raises TrainingError if a sequence's weights sum to zero under ``sequences``.
        """
        weight = entries.weight if new is None else new
        if self.name != "sequences" or not len(entries):
            return weight
        number, index = torch.unique(entries.sequence, return_inverse=True)
        below = self._below(entries, new)
        totals = torch.zeros(len(number), dtype=below.dtype, device=below.device).index_add_(0, index, below)
        if bool((totals == 0).any()):
            bad = int(number[(totals == 0).nonzero()[0, 0]])
            signed = "use normalization 'absolute' or 'tokens' with negative weights"
            advice = signed if below is entries.weight else "use normalize_by 'base'"
            raise TrainingError(
                f"normalization 'sequences': the weights of sequence {bad} of the batch sum to zero, so it has no weighted mean; {advice}"
            )
        return weight / totals[index]

    def denominator(self, entries: LossEntries, new: Tensor | None = None) -> Tensor:
        """What this micro-batch adds to the denominator of the global batch: a scalar, zero where nothing is trained. new: as above."""
        below = self._below(entries, new)
        if self.name == "weights":
            return below.sum()
        if self.name == "absolute":
            return below.abs().sum()
        count = int((below != 0).sum()) if self.name == "tokens" else len(torch.unique(entries.sequence))
        return torch.tensor(float(count), dtype=sum_dtype(below.device), device=below.device)

    def _below(self, entries: LossEntries, new: Tensor | None) -> Tensor:
        """The weights below the line."""
        return entries.weight if new is None or self.by == "base" else new

    def total(self, micro_batches: Sequence[LossEntries]) -> Tensor:
        """The denominator of a global batch that is split into ``micro_batches``. Raises TrainingError if it is zero."""
        if not micro_batches:
            raise TrainingError(f"normalization {self.name!r} is zero: the global batch has no micro-batches")
        return checked(torch.stack([self.denominator(entries) for entries in micro_batches]).sum(), f"normalization {self.name!r}")


def checked(denominator: Tensor, what: str) -> Tensor:
    """``denominator`` itself; raises TrainingError where it is zero or not finite: nothing trained is never a loss of 0."""
    value = float(denominator)
    if value == 0:
        raise TrainingError(f"{what} is zero: nothing in the global batch is trained, or its weights cancel; see which rows train nothing")
    if not torch.isfinite(denominator):
        raise TrainingError(f"{what} is {value}, expected a finite number")
    return denominator
