"""Files of ids and labels, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maskkit.errors import DataError
from maskkit.records import Unreadable, read_values


def label_rows(path: str | Path) -> Iterator[tuple[str, Mapping[str, Any]] | Unreadable]:
    """Where each row of a file stands (``labels.jsonl:7``), and the row; files are those that `read_values` reads.

    Raises DataError for a file that cannot be read, and for one whose first row has no ids: it holds something else.
    """
    for number, (where, value) in enumerate(read_values(path)):
        if isinstance(value, DataError):
            yield Unreadable(where, value)
        elif isinstance(value, Mapping) and "input_ids" in value:
            yield where, value
        elif number == 0:
            raise _without_ids(value, where)
        else:
            yield Unreadable(where, _without_ids(value, where))


def _without_ids(value: Any, where: str) -> DataError:
    found = f"the fields {', '.join(map(repr, value))}" if isinstance(value, Mapping) else type(value).__name__
    return DataError(f"{where}: found {found}, expected input_ids with labels or loss_weights beside them (rows of text need no --format)")
