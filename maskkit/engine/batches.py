"""From rows and their weights to the micro-batches of one global batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from maskkit.batching import DataCollator, pad_column
from maskkit.engine.weigh import Packs
from maskkit.errors import TrainingError
from maskkit.loss import LossEntries, Normalizer, checked, entries_of
from maskkit.masker import Example

PADDING_KIND = 255
"""Kind code at padding: no kind has it."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that go through the model together, and which of their predictions count. B: packs, T: tokens of the longest."""

    rows: tuple[Example, ...]
    tensors: dict[str, Tensor]
    """What the collator made of the rows, on the device."""
    kinds: Tensor
    """int64 [B, T]: code of each token's kind, `PADDING_KIND` at padding."""
    entries: LossEntries
    coefficients: Tensor
    """float64 [N]: factor of each entry's cross-entropy under the chosen normalization."""
    denominator: Tensor
    """What this micro-batch adds to the denominator of the global batch."""

    @property
    def token_count(self) -> int:
        """Tokens without padding."""
        return sum(len(row.tokens) for row in self.rows)


class Batcher:
    """Builds micro-batches of weighed rows.

    size: how many rows go through the model together where nothing plans otherwise. one_row: all packs of a micro-batch become one long
    row, without padding, as flash attention wants it, which looks for documents in a single row only.
    """

    def __init__(self, collator: DataCollator, normalizer: Normalizer, size: int, device: torch.device, *, one_row: bool = False) -> None:
        self._collator, self._normalizer, self.size, self._device = collator, normalizer, size, device
        self._one_row = one_row and collator.packing

    def __call__(self, batches: Sequence[Packs]) -> list[MicroBatch]:
        """One micro-batch for each list of packs."""
        return [self._micro_batch(packs) for packs in batches]

    def in_order(self, rows: Iterable[Example]) -> Iterator[MicroBatch]:
        """All rows, ``size`` at a time, as they come; each micro-batch is made when it is asked for."""
        coming = iter(rows)
        while part := list(islice(coming, self.size)):
            yield from self([[[row] for row in part]])

    def _micro_batch(self, packs: Packs) -> MicroBatch:
        rows = [row for pack in packs for row in pack]
        if self._one_row:
            packs = [rows]
        collated = self._collator(packs) if self._collator.packing else self._collator(rows)
        tensors = {name: column.to(self._device) for name, column in collated.items()}
        entries = entries_of(tensors["labels"], tensors["loss_weights"], tensors["document_ids"])
        kinds = [np.concatenate([row.tokens.kind_codes for row in pack]) for pack in packs]
        return MicroBatch(
            rows=tuple(rows),
            tensors=tensors,
            kinds=pad_column(kinds, PADDING_KIND).to(self._device),
            entries=entries,
            coefficients=self._normalizer.coefficients(entries),
            denominator=self._normalizer.denominator(entries),
        )


def every_prediction(batch: MicroBatch) -> LossEntries:
    """Entries of every token of the batch that anything predicts, whether it counts or not; each with weight 1."""
    one_each = (batch.tensors["document_ids"] >= 0).to(torch.float32)
    return entries_of(batch.tensors["input_ids"], one_each, batch.tensors["document_ids"])


def trains_nothing(batches: Sequence[MicroBatch]) -> bool:
    """Whether no token of the global batch has a weight other than zero. Weights that cancel are something else, and always an error."""
    return not any(len(batch.entries) for batch in batches)


def global_denominator(batches: Sequence[MicroBatch], normalization: str, step: int) -> Tensor:
    """What the weighted sum over all micro-batches of the step is divided by. Raises TrainingError, naming step and rows, if it is zero."""
    try:
        return checked(torch.stack([batch.denominator for batch in batches]).sum(), f"normalization {normalization!r}")
    except TrainingError as error:
        raise TrainingError(f"step {step}: {error}. Rows of this step: {sources_of(rows_of(batches))}") from error


def rows_of(batches: Sequence[MicroBatch]) -> list[Example]:
    """All rows of the micro-batches, in order."""
    return [row for batch in batches for row in batch.rows]


def sources_of(rows: Sequence[Example], most: int = 8) -> str:
    """Where the rows come from, for an error: the first few by name."""
    return ", ".join(row.tokens.record.source for row in rows[:most]) + (f" and {len(rows) - most} more" if len(rows) > most else "")
