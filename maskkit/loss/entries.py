"""Which predictions count, and the one shift of the whole product.

The hidden state at position t-1 predicts the token at position t. Everywhere else ids, labels, weights and kinds are aligned: entry t
belongs to token t. Only `entries_of` moves anything by one, and everything that computes a loss goes through it. Padded rows,
packed rows and trees of shared prefixes all reduce to the same four columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskkit.errors import ConfigError, StrategyError

IGNORED_LABEL = -100
"""Label of a token that is not predicted, as `torch.nn.functional.cross_entropy` has it."""


@dataclass(frozen=True, slots=True)
class LossEntries:
    """The predictions that count in one batch of shape [B, T]; N of them, in reading order. All columns have shape [N]."""

    source: Tensor
    """int64: flat position in [B * T] whose hidden state makes the prediction (the token before the target)."""
    target: Tensor
    """int64: id of the token to predict."""
    weight: Tensor
    """float64 (float32 where the device has no float64): how much it counts; never zero."""
    sequence: Tensor
    """int64: number of the sequence it belongs to, distinct for all rows and documents of the batch."""

    def __len__(self) -> int:
        return len(self.target)

    @property
    def predicted(self) -> Tensor:
        """int64 [N]: flat position of the target token itself, to read label-aligned columns (kinds, scores) with."""
        return self.source + 1


def entries_of(labels: Tensor, loss_weights: Tensor, document_ids: Tensor | None = None) -> LossEntries:
    """The entries of a batch: tokens with a label other than -100 and a weight other than 0.

    labels [B, T]: int64, aligned with input_ids (not shifted); loss_weights [B, T]: any real dtype; document_ids [B, T]: int, -1 at
    padding, equal for neighbours of one document. The first token of a row, and of a document, is never predicted, so it never counts.

    Raises ConfigError for shapes that differ, StrategyError for a weight that is not finite.
    """
    _check(labels, loss_weights, document_ids)
    counts = (labels != IGNORED_LABEL) & (loss_weights != 0)
    counts[:, :1] = False
    if document_ids is not None:
        counts[:, 1:] &= (document_ids[:, 1:] == document_ids[:, :-1]) & (document_ids[:, 1:] >= 0)
    row, column = counts.nonzero(as_tuple=True)
    width = labels.shape[1]
    return LossEntries(
        source=row * width + column - 1,
        target=labels[row, column].long(),
        weight=loss_weights[row, column].to(sum_dtype(labels.device)),
        sequence=row if document_ids is None else _sequence_numbers(row, document_ids[row, column]),
    )


def sum_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums over tokens: float64, which every device but Apple's has."""
    return torch.float32 if device.type == "mps" else torch.float64


def _sequence_numbers(row: Tensor, document: Tensor) -> Tensor:
    """A document is known by its row and its id: ids may start anew in each row."""
    if not len(row):
        return row
    return row * (int(document.max()) + 1) + document


def _check(labels: Tensor, loss_weights: Tensor, document_ids: Tensor | None) -> None:
    if labels.ndim != 2:
        raise ConfigError(f"labels have shape {list(labels.shape)}, expected [batch, length]")
    if labels.is_floating_point():
        raise ConfigError(f"labels are {labels.dtype}, expected whole numbers: token ids and {IGNORED_LABEL}")
    for name, column in (("loss_weights", loss_weights), ("document_ids", document_ids)):
        if column is not None and column.shape != labels.shape:
            raise ConfigError(f"{name} have shape {list(column.shape)}, expected that of labels, {list(labels.shape)}: one per token")
    bad = ~torch.isfinite(loss_weights)
    if bool(bad.any()):
        row, token = (int(index) for index in bad.nonzero()[0])
        value = float(loss_weights[row, token])
        raise StrategyError(f"loss_weights[{row}, {token}] is {value}, expected a finite number; {int(bad.sum())} such in the batch")
