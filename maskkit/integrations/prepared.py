"""Rows that another tool has tokenized, with whatever mask it gave them, as rows with weights.

    dataset.map(prepared_batch, batched=True, remove_columns=dataset.column_names)

Reads ``labels``; ``assistant_masks`` of transformers and ``completion_mask`` of TRL, both where both are there, as TRL has it;
``loss_scale`` of ms-swift, ``loss_weight``, ``loss_mask`` and other names of the same thing (`maskkit.records.given.WEIGHTS`), one
number per token. A token whose label is -100 weighs nothing. Packed rows become their documents, by ``position_ids``, ``document_ids`` or
``seq_idx``, and padding goes, by ``attention_mask``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskkit.errors import DataError
from maskkit.inspect.lint.given import given_rows
from maskkit.masker import IGNORE
from maskkit.records.attribution import KINDS_COLUMN
from maskkit.records.batches import check_batched
from maskkit.records.given import BOTH, unrolled
from maskkit.records.names import RowName


def prepared_batch(columns: Mapping[str, Sequence[Any]], indices: Sequence[int] | None = None) -> dict[str, list[npt.NDArray[Any]]]:
    """For ``dataset.map(prepared_batch, batched=True, remove_columns=dataset.column_names)``.

    columns: one sequence per column of the data set. indices: numbers of rows (``with_indices=True``), for errors. Returns ``input_ids``
    and ``labels`` (int64) and ``loss_weights`` (float32), as ``masker.encode_batch`` does, a row per document, and ``kinds`` (int64) where
    the data set has that column, for losses of kinds. Raises DataError, naming the row, for columns of unequal length and rows without any
    mask; ConfigError where it is mapped without ``batched=True``.
    """
    check_batched(columns, indices, "dataset.map(prepared_batch, batched=True, remove_columns=dataset.column_names)")
    rows: dict[str, list[npt.NDArray[Any]]] = {"input_ids": [], "labels": [], "loss_weights": []}
    kinds: list[npt.NDArray[np.int64] | None] = []
    for number, values in enumerate(zip(*columns.values(), strict=True)):
        given_row = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
        name = str(RowName(given_row, number)) if indices is None else f"row {indices[number]}"
        row = _one_mask(dict(unrolled(given_row, name)))
        for given in given_rows(row, name, pad=None):
            weights = given.weights.astype(np.float32)
            if given.labels is not None:
                weights[given.labels == IGNORE] = 0
            weights[:1] = 0  # nothing predicts the first token
            labels = given.ids if given.labels is None else given.labels
            rows["input_ids"].append(given.ids)
            rows["labels"].append(np.where(weights != 0, labels, IGNORE))
            rows["loss_weights"].append(weights)
            kinds.append(given.kinds)
    known = [codes for codes in kinds if codes is not None]
    if 0 < len(known) < len(kinds):
        raise DataError(f"{len(known)} of {len(kinds)} rows have kinds: give all rows the column, or leave it out")
    return {**rows, KINDS_COLUMN: known} if known else rows


def _one_mask(row: dict[str, Any]) -> dict[str, Any]:
    """Where TRL has both masks, a token counts if both say so."""
    if all(name in row for name in BOTH) and len(row[BOTH[0]]) == len(row[BOTH[1]]):
        both = np.asarray(row[BOTH[0]]) * np.asarray(row[BOTH[1]])
        return {**{name: value for name, value in row.items() if name not in BOTH}, BOTH[0]: both}
    return row
