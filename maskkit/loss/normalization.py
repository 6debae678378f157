"""What the weighted sum of losses is divided by.

    weights     sum(w * ce) / sum(w)                     the weighted mean over tokens (the default)
    absolute    sum(w * ce) / sum(|w|)                   the same for strategies with negative weights
    tokens      sum(w * ce) / count(w != 0)              a weight scales the loss of its token
    sequences   mean over sequences of sum(w * ce) / sum(w) within the sequence; sequences that train nothing are not counted

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


class Normalizer:
    """One normalization by name: what each token's loss is multiplied by, and what the sum is divided by.

    Raises UnknownNameError for a name not in `NORMALIZATIONS`.
    """

    def __init__(self, name: str = "weights") -> None:
        if name not in NORMALIZATIONS:
            raise UnknownNameError("normalization", name, NORMALIZATIONS)
        self.name = name

    def __repr__(self) -> str:
        return f"Normalizer({self.name!r})"

    def coefficients(self, entries: LossEntries) -> Tensor:
        """Factor of each entry's cross-entropy in the numerator, [N].

        A sequence must lie whole in one micro-batch. Raises TrainingError if a sequence's weights sum to zero under ``sequences``.
        """
        if self.name != "sequences" or not len(entries):
            return entries.weight
        number, index = torch.unique(entries.sequence, return_inverse=True)
        totals = torch.zeros(len(number), dtype=entries.weight.dtype, device=entries.weight.device).index_add_(0, index, entries.weight)
        if bool((totals == 0).any()):
            bad = int(number[(totals == 0).nonzero()[0, 0]])
            raise TrainingError(
                f"normalization 'sequences': the weights of sequence {bad} of the batch sum to zero, so it has no weighted mean; "
                "use normalization 'absolute' or 'tokens' with negative weights"
            )
        return entries.weight / totals[index]

    def denominator(self, entries: LossEntries) -> Tensor:
        """What this micro-batch adds to the denominator of the global batch: a scalar, zero where nothing is trained."""
        if self.name == "weights":
            return entries.weight.sum()
        if self.name == "absolute":
            return entries.weight.abs().sum()
        count = len(entries) if self.name == "tokens" else len(torch.unique(entries.sequence))
        return torch.tensor(float(count), dtype=sum_dtype(entries.weight.device), device=entries.weight.device)

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
