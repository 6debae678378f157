"""Rows as other trainers have them: ids with labels, or with weights, and perhaps the messages that they were made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from maskkit.checks.labels import IGNORE
from maskkit.errors import DataError
from maskkit.records.given import WEIGHTS
from maskkit.records.messages import as_list, short

_STARTS = ("position_ids", "document_ids", "seq_idx")
"""Columns that say where a packed row begins anew."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class GivenRow:
    """One row: ids int64 [T], weights float64 [T], labels and kinds int64 [T] where it has some, and the row's messages where it has
    those."""

    source: str
    ids: Ints
    weights: Floats
    labels: Ints | None
    row: Mapping[str, Any]
    kinds: Ints | None = None
    """Codes of `maskkit.kinds.KINDS`."""

    @property
    def key(self) -> str:
        """Hash of ids and weights: the same for the same row, wherever it stands."""
        return blake2b(self.ids.tobytes() + self.weights.tobytes(), digest_size=8).hexdigest()

    @property
    def has_messages(self) -> bool:
        """Whether the data stands beside the ids."""
        return bool(self.row.get("messages"))


def is_given(row: Any) -> bool:
    """Does a row bring ids and a mask, rather than data of which they are to be made?"""
    return (isinstance(row, (tuple, list)) and len(row) == 2) or (isinstance(row, Mapping) and "input_ids" in row)


def given_rows(row: Any, source: str, pad: int | None) -> Iterator[GivenRow]:
    """The rows that one object holds: itself, those of a batch, the documents of a packed row; padding is left out.

    pad: id of the padding token. Raises DataError for lengths that differ and columns that are no numbers.
    """
    if isinstance(row, Mapping):
        columns = dict(row)
    else:
        second = _numbers(row[1], f"{source}: labels")
        ids = _numbers(row[0], f"{source}: input_ids")
        columns = {"input_ids": ids, ("labels" if _are_labels(second, ids) else "loss_weights"): second}
    ids = _numbers(columns["input_ids"], f"{source}: input_ids")
    if ids.ndim == 2:
        for number in range(len(ids)):
            one = {name: value[number] for name, value in columns.items() if _is_column(value, len(ids))}
            yield from given_rows(one, f"{source}[{number}]", pad)
        return
    yield from _documents(_row(columns, ids, source, pad), columns, source)


def _is_column(value: Any, rows: int) -> bool:
    return hasattr(value, "__getitem__") and not isinstance(value, (str, bytes, Mapping)) and len(value) == rows


def _are_labels(values: npt.NDArray[Any], ids: npt.NDArray[Any]) -> bool:
    """Whole numbers are labels, unless they only say yes and no."""
    whole = values.dtype.kind in "iu"
    return whole and not (set(np.unique(values)) <= {0, 1} and not np.array_equal(values, ids))


def _row(columns: Mapping[str, Any], ids: npt.NDArray[Any], source: str, pad: int | None) -> tuple[GivenRow, npt.NDArray[np.bool_]]:
    if ids.dtype.kind not in "iu" or ids.ndim != 1:
        raise DataError(f"{source}: input_ids are {short(columns['input_ids'])}, expected whole numbers in a row")
    ids = ids.astype(np.int64)
    labels = _column(columns, "labels", source, len(ids))
    name = next((name for name in WEIGHTS if columns.get(name) is not None), None)
    weights = _column(columns, name, source, len(ids)) if name else None
    if labels is None and weights is None:
        raise DataError(f"{source}: neither labels nor {', '.join(WEIGHTS)} are beside input_ids, expected one value per token")
    labels = None if labels is None else labels.astype(np.int64)
    if weights is None:
        assert labels is not None
        weights = labels != IGNORE
    weights = weights.astype(np.float64)
    kept = _not_padding(columns, ids, weights, source, pad)
    kinds = _column(columns, "kinds", source, len(ids)) if as_list(columns.get("kinds")) is not None else None
    labels, kinds = (None if column is None else column[kept].astype(np.int64) for column in (labels, kinds))
    return GivenRow(source, ids[kept], weights[kept], labels, columns, kinds), kept


def _column(columns: Mapping[str, Any], name: str, source: str, length: int) -> npt.NDArray[Any] | None:
    if columns.get(name) is None:
        return None
    values = _numbers(columns[name], f"{source}: {name}")
    if values.shape != (length,):
        raise DataError(f"{source}: {name} has shape {values.shape}, expected ({length},): one for each of input_ids")
    return values


def _numbers(value: Any, where: str) -> npt.NDArray[Any]:
    found = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if found.dtype.kind not in "biuf":
        raise DataError(f"{where} is {short(value)}, expected numbers")
    return found


def _not_padding(columns: Mapping[str, Any], ids: Ints, weights: Floats, source: str, pad: int | None) -> npt.NDArray[np.bool_]:
    """By the attention mask; without one, runs of the padding token at either end that do not count, but for the first of the last run."""
    mask = _column(columns, "attention_mask", source, len(ids))
    if mask is not None:
        return np.asarray(mask != 0)
    padding = (ids == pad) & (weights == 0) if pad is not None else np.zeros(len(ids), np.bool_)
    kept = np.ones(len(ids), np.bool_)
    first, last = 0, len(ids)
    while first + 1 < last and padding[first] and padding[first + 1]:
        first += 1
    while last - 1 > first and padding[last - 1] and padding[last - 2]:
        last -= 1
    kept[:first], kept[last:] = False, False
    return kept


def _documents(found: tuple[GivenRow, npt.NDArray[np.bool_]], columns: Mapping[str, Any], source: str) -> Iterator[GivenRow]:
    """The documents of a packed row."""
    row, kept = found
    name = next((name for name in _STARTS if columns.get(name) is not None), None)
    values = _column(columns, name, source, len(kept)) if name else None
    if values is None or len(row.ids) < 2:
        yield row
        return
    steps = np.diff(values[kept])
    cuts = (np.flatnonzero(steps <= 0 if name == "position_ids" else steps != 0) + 1).tolist()
    if not cuts:
        yield row
        return
    bounds = [0, *cuts, len(row.ids)]
    for number, (start, end) in enumerate(pairwise(bounds)):
        labels, kinds = (None if column is None else column[start:end] for column in (row.labels, row.kinds))
        rest = {key: value for key, value in row.row.items() if key != "messages"}
        yield GivenRow(f"{source}, document {number}", row.ids[start:end], row.weights[start:end], labels, rest, kinds)


def rows_of(examples: Iterable[Any] | Mapping[str, Any]) -> Iterable[Any]:
    """The objects to look at: a batch alone is one, and so is a pair of arrays."""
    if isinstance(examples, Mapping):
        return [examples]
    if isinstance(examples, tuple) and len(examples) == 2 and all(map(_holds_numbers, examples)):
        return [examples]
    if not isinstance(examples, Iterable):
        raise DataError(f"examples are {short(examples)}, expected a path or rows: an iterable of rows, pairs or Examples")
    return examples


def _holds_numbers(part: Any) -> bool:
    return hasattr(part, "shape") or (isinstance(part, (list, tuple)) and bool(part) and isinstance(part[0], Real))
