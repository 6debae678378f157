"""Batches as ``datasets`` hands them to a function: a sequence for each column. One row looks much like that, and its letters like rows."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from maskkit.errors import ConfigError
from maskkit.records.messages import as_list, short

MESSAGES = ("messages", "conversations", "prompt", "completion")
"""Columns whose values are lists of messages, and would be lists of such lists in a batch."""


def check_batched(columns: Mapping[str, Any], indices: Any, call: str) -> None:
    """Raises ConfigError where ``columns`` is one row rather than a batch of rows: ``dataset.map`` was not told to give one.

    indices: a number instead of several says so too. call: how the function is to be mapped.
    """
    name = next((name for name, value in columns.items() if _is_one_value(name, value)), None)
    if name is not None:
        found = f"{name} is {short(columns[name])}, expected a list with a value for each of several rows"
    elif isinstance(indices, Real):
        found = f"indices is {indices}, expected a list of numbers"
    else:
        return
    raise ConfigError(f"one row was given where a batch of rows is expected ({found}): pass batched=True, as  {call}")


def _is_one_value(name: str, value: Any) -> bool:
    """Is this what a row holds in a column, rather than what several rows hold?"""
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__len__") or _is_scalar(value):
        return True
    if name == "input_ids":
        return any(_is_scalar(each) for each in value[:1])
    if name in MESSAGES:
        return any(isinstance(each, Mapping) and isinstance(each.get("role", each.get("from")), str) for each in as_list(value) or ())
    return False


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Real) or getattr(value, "ndim", None) == 0
