"""Columns of a row that hold one number per token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from maskkit.errors import DataError
from maskkit.records.messages import as_list, short


def numbers(row: Mapping[str, Any], name: str, source: str, length: int | None) -> Sequence[float]:
    """The column of that name. Raises DataError if it is no list of ``length`` finite numbers (None: of any number of them)."""
    given = row[name]
    values = as_list(given.tolist() if hasattr(given, "tolist") else given)
    if values is None or not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise DataError(f"{source}: {name} is {short(given)}, expected a list of numbers")
    if length is not None and len(values) != length:
        raise DataError(f"{source}: {name} has {len(values)} values, expected {length}: one for each of input_ids")
    return values


def whole(value: float, source: str, name: str, lowest: int = 0) -> int:
    """A number of a column as a whole one. Raises DataError where it is none, or below ``lowest``."""
    if value != int(value) or value < lowest:
        expected = "token ids: whole numbers from 0" if name == "input_ids" else f"whole numbers from {lowest}"
        raise DataError(f"{source}: {name} has {value}, expected {expected}")
    return int(value)
