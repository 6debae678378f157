"""Columns of a row with one number per token, such as the scores of a reference model: they become ``tokens.extras``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from maskkit.errors import DataError
from maskkit.records import Record

Numbers = npt.NDArray[np.float64]


def token_columns(record: Record, names: Iterable[str], ids: npt.NDArray[np.int64]) -> dict[str, Numbers]:
    """Those of the columns that the row has, float64 [T]; null becomes NaN.

    A column is a list of T numbers, or ``{"input_ids": [...], "values": [...]}``, whose ids are then compared with ``ids`` [T], those of
    the example before it is cut. Raises DataError where numbers or ids do not belong to these tokens.
    """
    return {name: _column(record, name, record.row[name], ids) for name in names if record.row.get(name) is not None}


def _column(record: Record, name: str, value: Any, ids: npt.NDArray[np.int64]) -> Numbers:
    if isinstance(value, Mapping):
        if value.keys() != {"input_ids", "values"}:
            raise DataError(f"{record.source}: {name} has the keys {sorted(map(str, value))}, expected input_ids and values")
        _check_ids(record, name, value["input_ids"], ids)
        value = value["values"]
    try:
        column = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{record.source}: {name} is not a list of numbers, expected one number per token") from None
    if column.shape != ids.shape:
        raise DataError(f"{record.source}: {name} has shape {column.shape}, expected {ids.shape}: one number per token.{_ADVICE}")
    return column


def _check_ids(record: Record, name: str, given: Any, ids: npt.NDArray[np.int64]) -> None:
    found = np.asarray(given)
    if found.shape != ids.shape:
        raise DataError(f"{record.source}: {name} is of {found.size} tokens, expected {len(ids)}.{_ADVICE}")
    other = np.flatnonzero(found != ids)
    if len(other):
        at = int(other[0])
        raise DataError(f"{record.source}: {name} is of other tokens: token {at} is {found[at]}, expected {ids[at]}.{_ADVICE}")


_ADVICE = " Was it made with another tokenizer, chat template, history or truncation: turns? Make it again"
