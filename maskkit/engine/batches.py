"""From rows and their weights to the micro-batches of one global batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from maskkit.batching import PADDING_KIND, UNMODIFIED, DataCollator
from maskkit.engine.distributed import ALONE, Ranks
from maskkit.engine.weigh import Packs
from maskkit.errors import TrainingError
from maskkit.loss import LossEntries, Normalizer, checked, entries_of
from maskkit.masker import Example

T = TypeVar("T")


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
        """One micro-batch for each list of packs; `filler` where it is empty."""
        return [self._micro_batch(packs) if packs else self.filler() for packs in batches]

    def in_order(self, rows: Iterable[T], prepare: Callable[[T], Example], ranks: Ranks = ALONE) -> Iterator[MicroBatch]:
        """This rank's part of all rows, ``size`` at a time, each micro-batch made when it is asked for. Every rank has as many: a filler
        stands in where the rows do not go round."""
        coming, number = iter(rows), 0
        while part := list(islice(coming, self.size)):
            if number % ranks.size == ranks.rank:
                yield from self([[[prepare(row)] for row in part]])
            number += 1
        if 0 < number % ranks.size <= ranks.rank:
            yield self.filler()

    def filler(self) -> MicroBatch:
        """A micro-batch in which nothing is predicted, one token long: with it a rank that has no rows takes part, so that no other rank
        waits for it. No row is ever repeated."""
        token = {"input_ids": [self._collator.pad_token_id], "loss_weights": [0.0], "kinds": [PADDING_KIND]}
        return self._tensors([], self._collator([token]))

    def _micro_batch(self, packs: Packs) -> MicroBatch:
        rows = [row for pack in packs for row in pack]
        if self._one_row:
            packs = [rows]
        return self._tensors(rows, self._collator(packs if self._collator.packing else rows))

    def _tensors(self, rows: Sequence[Example], collated: dict[str, Tensor]) -> MicroBatch:
        kinds = collated.pop("kinds")
        collated.pop(UNMODIFIED, None)  # loss modifiers are the engine's own business
        tensors = {name: column.to(self._device) for name, column in collated.items()}
        entries = entries_of(tensors["labels"], tensors["loss_weights"], tensors["document_ids"])
        return MicroBatch(
            rows=tuple(rows),
            tensors=tensors,
            kinds=kinds.to(self._device),
            entries=entries,
            coefficients=self._normalizer.coefficients(entries),
            denominator=self._normalizer.denominator(entries),
        )


def every_prediction(batch: MicroBatch) -> LossEntries:
    """Entries of every token of the batch that anything predicts, whether it counts or not; each with weight 1."""
    one_each = (batch.tensors["document_ids"] >= 0).to(torch.float32)
    return entries_of(batch.tensors["input_ids"], one_each, batch.tensors["document_ids"])


def trains_nothing(batches: Sequence[MicroBatch], ranks: Ranks = ALONE) -> bool:
    """Whether no token of the global batch has a weight other than zero. Weights that cancel are something else, and always an error."""
    return ranks.totals(sum(len(batch.entries) for batch in batches)) == [0]


def global_denominator(batches: Sequence[MicroBatch], normalization: str, step: int, ranks: Ranks = ALONE) -> Tensor:
    """What the weighted sum over all micro-batches of the step, on all ranks, is divided by. Raises TrainingError, naming step and rows,
    if it is zero."""
    try:
        return checked(ranks.sum(torch.stack([batch.denominator for batch in batches]).sum()), f"normalization {normalization!r}")
    except TrainingError as error:
        cure = "; training.on_empty_batch: skip  passes over steps that train nothing" if trains_nothing(batches, ranks) else ""
        raise TrainingError(f"step {step}: {error}{cure}. Rows of this step: {sources_of(batches, ranks)}") from error


def row_count(batches: Sequence[MicroBatch], ranks: Ranks) -> int:
    """Rows of the global batch."""
    return int(ranks.totals(sum(len(batch.rows) for batch in batches))[0])


def sources_of(batches: Sequence[MicroBatch], ranks: Ranks, most: int = 8) -> str:
    """Where the rows of the global batch come from, for an error: the first few by name. All ranks have to ask."""
    own = [row.tokens.record.source for batch in batches for row in batch.rows]
    names = [name for part in ranks.collect(own) for name in part]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
