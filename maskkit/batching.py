"""Examples of unequal length become one rectangular batch: a row each, or several packed into a row.

Rows are padded on the right: in a causal model no token sees what comes after it, so padding changes no real token's logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskkit.errors import ConfigError, DataError, StrategyError
from maskkit.masker import IGNORE, Example
from maskkit.records.names import RowName

BEGINNING = 16
"""Tokens by which errors let a row be recognised."""

UNMODIFIED = "unmodified"
"""In a batch of examples whose strategy has loss modifiers: which of its rows have such examples, bool [B]."""

PADDING_KIND = 255
"""Kind code at padding: no kind has it."""

Row = Example | Mapping[str, Any]
"""An example, or a row that ``masker.encode_batch`` has mapped."""


class DataCollator:
    """Turns a list of examples into a batch of tensors, B rows padded to the longest, T.

    ``collator(rows)`` takes `Example` objects, or rows that ``masker.encode_batch`` has mapped (input_ids, loss_weights and, if there,
    labels), and returns::

        input_ids       int64 [B, T]    the tokenizer's pad token at padding
        attention_mask  int64 [B, T]    1 for tokens, 0 at padding; not there with packing
        position_ids    int64 [B, T]    counted from 0 in each document, 0 at padding
        document_ids    int64 [B, T]    number of the example in the given list, -1 at padding
        labels          int64 [B, T]    input_ids; -100 at padding, at document starts and where the weight is 0
        loss_weights  float32 [B, T]    0 wherever the label is -100
        kinds           int64 [B, T]    codes (`maskkit.kinds.CODE`), 255 at padding; of mapped rows only if all have the column
        unmodified       bool [B]       rows whose loss modifiers have yet to act, which guests refuse unless they are given them

    Labels are aligned with input_ids: only the loss shifts.

    packing: an item of ``rows`` may be a list of examples, a *pack*, which becomes one row, document after document; a plain list of
    examples is one pack. Models tell documents apart by position_ids, and only if they get no attention_mask and no cache: call them with
    `model_inputs`. Not every model can; `maskkit.engine.isolation` tells which.

    Raises DataError, naming the row, for columns of unequal length, an empty row, or labels that are neither -100 nor the row's own ids;
    StrategyError for a weight that is not finite; ConfigError for packs without packing.
    """

    def __init__(self, tokenizer: Any, packing: bool = False) -> None:
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # padding is masked everywhere, so any id of the vocabulary serves
        self.pad_token_id: int = pad if pad is not None else 0
        self.packing = packing
        self._decode: Any = getattr(tokenizer, "decode", None)

    def __call__(self, rows: Sequence[Row | Sequence[Row]]) -> dict[str, Tensor]:
        """The batch of ``rows``; see the class."""
        packs = self._packs(rows)
        documents = [row for pack in packs for row in pack]
        if not documents:
            raise DataError("a batch of no rows: expected at least one example")
        columns = [_columns(row, self.name_of(row, number)) for number, row in enumerate(documents)]
        lengths = [len(column.ids) for column in columns]
        rows_of = _Rows([len(pack) for pack in packs])
        batch = {
            "input_ids": rows_of([column.ids for column in columns], self.pad_token_id),
            "attention_mask": rows_of([np.ones(length, np.int64) for length in lengths], 0),
            "position_ids": rows_of([np.arange(length) for length in lengths], 0),
            "document_ids": rows_of([np.full(length, number) for number, length in enumerate(lengths)], -1),
            "labels": rows_of([column.labels for column in columns], IGNORE),
            "loss_weights": rows_of([column.weights for column in columns], 0, torch.float32),
        }
        if self.packing:
            del batch["attention_mask"]
        kinds = [column.kinds for column in columns if column.kinds is not None]
        if len(kinds) == len(columns):
            batch["kinds"] = rows_of(kinds, PADDING_KIND)
        if any(isinstance(row, Example) and row.modifiers for row in documents):
            batch[UNMODIFIED] = torch.tensor([any(isinstance(row, Example) and bool(row.modifiers) for row in pack) for pack in packs])
        return batch

    def name_of(self, row: Row, number: int) -> object:
        """What errors call a row of a batch: a text, or what becomes one when it is asked for."""
        return row.tokens.record.source if isinstance(row, Example) else RowName(row, number, partial(self._beginning, row))

    def _beginning(self, row: Mapping[str, Any]) -> str:
        """The first words of a row, whose ids may be anything."""
        ids: Any = row.get("input_ids")
        first = list(ids.tolist() if hasattr(ids, "tolist") else ids or ())[:BEGINNING]
        readable = self._decode is not None and all(isinstance(token, int) and token >= 0 for token in first)
        return str(self._decode(first)) if first and readable else ""

    def _packs(self, rows: Sequence[Row | Sequence[Row]]) -> list[Sequence[Row]]:
        packed = [not isinstance(row, (Example, Mapping)) for row in rows]
        if not self.packing:
            if any(packed):
                raise ConfigError("a pack of rows was given to DataCollator(packing=False): use packing=True, or give the rows one by one")
            return [[cast(Row, row)] for row in rows]
        if not any(packed):
            return [cast("Sequence[Row]", rows)]
        return [cast("Sequence[Row]", row) if pack else [cast(Row, row)] for row, pack in zip(rows, packed, strict=True)]


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """What to call a causal model with, of a batch that `DataCollator` made.

    Without attention_mask, that is with packing, transformers finds in position_ids where documents begin. A mask of ones, or a cache,
    which models make by default, would switch that off without a word, and documents would see those before them.
    """
    apart = "attention_mask" if "attention_mask" in batch else "position_ids"
    return {"input_ids": batch["input_ids"], apart: batch[apart], "use_cache": False}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Puts columns of documents one behind the other into rows, so many in each, and pads them."""

    sizes: Sequence[int]

    def __call__(self, columns: Sequence[npt.NDArray[Any]], fill: float, dtype: torch.dtype = torch.int64) -> Tensor:
        coming = iter(columns)
        return pad_column([np.concatenate([next(coming) for _ in range(size)]) for size in self.sizes], fill, dtype=dtype)


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
    kinds: npt.NDArray[np.int64] | None


def _columns(row: Row, name: object) -> _Columns:
    """The checked columns of one row."""
    given = _given(row) if isinstance(row, Example) else dict(row)
    missing = [column for column in ("input_ids", "loss_weights") if given.get(column) is None]
    if missing:
        raise DataError(f"{name} has no column {missing[0]!r} (found: {', '.join(sorted(given))}): map the data with masker.encode_batch")
    ids, weights = np.asarray(given["input_ids"], np.int64), np.asarray(given["loss_weights"], np.float32)
    labels = ids if given.get("labels") is None else np.asarray(given["labels"], np.int64)
    kinds = None if given.get("kinds") is None else np.asarray(given["kinds"], np.int64)
    _check(name, ids, weights, labels, kinds)
    trained = (weights != 0) & (labels != IGNORE)
    trained[0] = False  # nothing predicts the first token
    return _Columns(ids, np.where(trained, weights, np.float32(0)), np.where(trained, ids, IGNORE), kinds)


def _given(row: Example) -> dict[str, Any]:
    return {"input_ids": row.input_ids, "loss_weights": row.loss_weights, "kinds": row.tokens.kind_codes}


def _check(
    name: object,
    ids: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.int64] | None,
) -> None:
    if ids.ndim != 1 or not len(ids):
        raise DataError(f"{name}: input_ids have shape {list(ids.shape)}, expected [length] with at least one token")
    for column, values in (("loss_weights", weights), ("labels", labels), ("kinds", kinds)):
        if values is not None and values.shape != ids.shape:
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
