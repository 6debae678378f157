"""Examples of unequal length become one rectangular batch.

Rows are padded on the right: in a causal model no token sees what comes after it, so padding changes no real token's logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskkit.errors import ConfigError, DataError, StrategyError
from maskkit.masker import IGNORE, Example


class DataCollator:
    """Turns a list of examples into a batch of tensors, B rows padded to the longest, T.

    ``collator(rows)`` takes `Example` objects, or rows that ``masker.encode_batch`` has mapped (input_ids, loss_weights and, if there,
    labels), and returns::

        input_ids       int64 [B, T]    the tokenizer's pad token at padding
        attention_mask  int64 [B, T]    1 for tokens, 0 at padding
        position_ids    int64 [B, T]    counted from 0 in each document, 0 at padding
        document_ids    int64 [B, T]    number of the row in the given list, -1 at padding
        labels          int64 [B, T]    input_ids; -100 at padding, at document starts and where the weight is 0
        loss_weights  float32 [B, T]    0 wherever the label is -100

    Labels are aligned with input_ids: only the loss shifts. Raises DataError, naming the row, for columns of unequal length, an empty
    row, or labels that are neither -100 nor the row's own ids; StrategyError for a weight that is not finite.
    """

    def __init__(self, tokenizer: Any, packing: bool = False) -> None:
        if packing:
            raise ConfigError("packing=True is not available yet: use packing=False, which pads each row to the longest of its batch")
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # padding is masked everywhere, so any id of the vocabulary serves
        self.pad_token_id: int = pad if pad is not None else 0

    def __call__(self, rows: Sequence[Example | Mapping[str, Any]]) -> dict[str, Tensor]:
        """The batch of ``rows``; see the class."""
        if not rows:
            raise DataError("a batch of no rows: expected at least one example")
        columns = [_columns(row, number) for number, row in enumerate(rows)]
        length = max(len(row.ids) for row in columns)
        positions = [np.arange(len(row.ids)) for row in columns]
        documents = [np.full(len(row.ids), number) for number, row in enumerate(columns)]
        return {
            "input_ids": pad_column([row.ids for row in columns], self.pad_token_id, length),
            "attention_mask": pad_column([np.ones(len(row.ids), np.int64) for row in columns], 0, length),
            "position_ids": pad_column(positions, 0, length),
            "document_ids": pad_column(documents, -1, length),
            "labels": pad_column([row.labels for row in columns], IGNORE, length),
            "loss_weights": pad_column([row.weights for row in columns], 0, length, torch.float32),
        }


def pad_column(columns: Sequence[npt.ArrayLike], fill: float, length: int | None = None, dtype: torch.dtype = torch.int64) -> Tensor:
    """Any per-token column of B rows as one tensor [B, length], filled up on the right with ``fill``; length: the longest if not given."""
    arrays = [np.asarray(column) for column in columns]
    width = max(map(len, arrays)) if length is None else length
    padded = torch.full((len(arrays), width), fill, dtype=dtype)
    for row, array in enumerate(arrays):
        padded[row, : len(array)] = torch.tensor(array, dtype=dtype)
    return padded


@dataclass(frozen=True, slots=True)
class _Columns:
    ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def _columns(row: Example | Mapping[str, Any], number: int) -> _Columns:
    """The checked columns of one row."""
    if isinstance(row, Example):
        name, given = row.tokens.record.source, {"input_ids": row.input_ids, "loss_weights": row.loss_weights}
    else:
        name, given = f"row {number} of the batch", dict(row)
    missing = [column for column in ("input_ids", "loss_weights") if given.get(column) is None]
    if missing:
        raise DataError(f"{name} has no column {missing[0]!r} (found: {', '.join(sorted(given))}): map the data with masker.encode_batch")
    ids, weights = np.asarray(given["input_ids"], np.int64), np.asarray(given["loss_weights"], np.float32)
    labels = ids if given.get("labels") is None else np.asarray(given["labels"], np.int64)
    _check(name, ids, weights, labels)
    trained = (weights != 0) & (labels != IGNORE)
    trained[0] = False  # nothing predicts the first token
    return _Columns(ids, np.where(trained, weights, np.float32(0)), np.where(trained, ids, IGNORE))


def _check(name: str, ids: npt.NDArray[np.int64], weights: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
    if ids.ndim != 1 or not len(ids):
        raise DataError(f"{name}: input_ids have shape {list(ids.shape)}, expected [length] with at least one token")
    for column, values in (("loss_weights", weights), ("labels", labels)):
        if values.shape != ids.shape:
            raise DataError(f"{name}: {column} have shape {list(values.shape)}, expected {list(ids.shape)}: one per token of input_ids")
    if not np.isfinite(weights).all():
        token = int(np.flatnonzero(~np.isfinite(weights))[0])
        raise StrategyError(f"{name}: the loss weight of token {token} is {weights[token]}, expected a finite number")
    foreign = (labels != IGNORE) & (labels != ids)
    if foreign.any():
        token = int(np.flatnonzero(foreign)[0])
        raise DataError(
            f"{name}: the label of token {token} is {labels[token]}, expected its own id {ids[token]} or {IGNORE}: "
            "labels are aligned with input_ids, and only the loss shifts them"
        )
