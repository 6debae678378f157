"""Rows to fill up with, so that no sampler has to repeat one.

Where rows do not divide by ranks, samplers of torch, accelerate and Lightning start again from the first rows, which then count twice. Rows
of weight zero count nothing, wherever shuffling puts them.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset, DistributedSampler, IterableDataset

from maskkit.batching import PADDING_KIND
from maskkit.errors import ConfigError
from maskkit.masker import IGNORE, Example

FILLERS = "fillers"
"""In a batch that has rows to fill up with: which of its rows they are, bool [B]."""


class Rows(Protocol):
    """A data set that is read by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Any: ...


class Filler(UserDict[str, Any]):
    """A row that fills up. No dict, since the Trainer copies those into dicts without the columns that it does not know."""


def filler_like(row: Example | Mapping[str, Any]) -> Filler:
    """A row that trains nothing: the first tokens of ``row``, two at most, each with label -100, weight 0 and no kind."""
    if isinstance(row, Example):
        row = {"input_ids": row.input_ids, "kinds": row.tokens.kind_codes}
    size = min(2, len(row["input_ids"]))
    filler: dict[str, Any] = {"input_ids": np.asarray(row["input_ids"])[:size].tolist()}
    if "kinds" in row:
        filler["kinds"] = [PADDING_KIND] * size
    if "seq_lengths" in row:
        filler["seq_lengths"] = [size]
    return Filler({**filler, "labels": [IGNORE] * size, "loss_weights": [0.0] * size})


def mark_fillers(rows: Sequence[Any], batch: Any) -> None:
    """Note in a batch that was made of ``rows`` which of its own rows fill up; where rows are packed, only if all do."""
    fill = [isinstance(row, Filler) for row in rows]
    if any(fill) and (len(batch["input_ids"]) == len(rows) or all(fill)):
        batch[FILLERS] = (
            torch.tensor(fill) if len(batch["input_ids"]) == len(rows) else torch.ones(len(batch["input_ids"]), dtype=torch.bool)
        )


class Filled(ConcatDataset[Any]):
    """Rows with rows of weight zero behind them. given: how many are not of weight zero by that."""

    def __init__(self, rows: Rows, missing: int) -> None:
        super().__init__([cast("Dataset[Any]", rows), cast("Dataset[Any]", [filler_like(rows[0])] * missing)])
        self.given = len(rows)


def filled(rows: Rows, multiple: int) -> Any:
    """``rows`` with rows of weight zero behind them, up to a multiple of ``multiple`` (ranks times rows per micro-batch)."""
    missing = -len(rows) % multiple
    return Filled(rows, missing) if missing else rows


class FilledStream(IterableDataset[Any]):
    """The same for rows that come one after another; with several workers, each fills up its own part."""

    def __init__(self, rows: Any, multiple: int) -> None:
        self.rows, self.multiple = rows, multiple

    def __iter__(self) -> Iterator[Any]:
        count, first = 0, None
        for row in self.rows:
            count, first = count + 1, row if first is None else first
            yield row
        if first is not None:
            yield from [filler_like(first)] * (-count % self.multiple)

    def set_epoch(self, epoch: int) -> None:
        """Passed on to rows that shuffle themselves."""
        if hasattr(self.rows, "set_epoch"):
            self.rows.set_epoch(epoch)


def check_no_repeats(loader: Any) -> None:
    """Raises ConfigError if a data loader would give some rows twice, so that all ranks have equally many.

    Knows ``DistributedSampler`` of torch, which Lightning puts in by itself, and what accelerate makes of a loader (``even_batches``).
    """
    rows, multiple = _evened(loader)
    if multiple > 1 and rows % multiple:
        raise ConfigError(
            f"the data loader would repeat {-rows % multiple} of its {rows} rows, so that all ranks have equally many: fill up with rows "
            f"of weight zero, maskkit.integrations.rows.filled(rows, {multiple})"
        )


def _evened(loader: Any) -> tuple[int, int]:
    """Rows of a loader, and what they are brought to a multiple of by repeating some; 1 for nothing."""
    sampler, shard = getattr(loader, "sampler", None), cast(Any, getattr(loader, "batch_sampler", None))
    if isinstance(sampler, DistributedSampler):
        return len(cast(Any, sampler.dataset)), 1 if sampler.drop_last else sampler.num_replicas
    if getattr(shard, "even_batches", False) and not shard.drop_last and shard.batch_size:
        inner = getattr(shard.batch_sampler, "sampler", None)
        if inner is not None and hasattr(inner, "__len__"):
            return len(inner), shard.batch_size * (1 if shard.split_batches else shard.num_processes)
    return 0, 1
