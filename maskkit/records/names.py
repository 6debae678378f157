"""What to call a row of which only its place in a batch is known, so that it can be found in its data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskkit.records.messages import as_list

IDS = ("id", "_id", "uid", "uuid", "guid", "idx", "row_id", "sample_id", "example_id", "conversation_id", "prompt_id", "source", "row_key")
"""Columns that tell rows apart, the best first."""

TEXTS = ("messages", "conversations", "prompt", "text", "instruction", "question")
"""Columns that a row is known by when it is seen, the best first."""

_LENGTH = 40


@dataclass(frozen=True, slots=True)
class RowName:
    """Made when an error asks for it: ``row 3 of the batch (id 'a17', 'What is 12 + 9?')``.

    text: gives what the row says, where no column of it does.
    """

    row: Mapping[str, Any]
    number: int
    text: Callable[[], str] | None = None

    def __str__(self) -> str:
        known = [*_id_of(self.row)]
        beginning = _beginning_of(self.row) or (self.text() if self.text else "")
        known += [_cut(beginning)] if beginning else []
        return f"row {self.number} of the batch" + (f" ({', '.join(known)})" if known else "")


def _id_of(row: Mapping[str, Any]) -> Sequence[str]:
    """Column and value of the first column that tells the row apart."""
    found = ((name, row.get(name)) for name in IDS)
    return next(([f"{name} {_cut(value)}"] for name, value in found if isinstance(value, (str, int)) and value != ""), [])


def _cut(value: str | int) -> str:
    """As Python writes it; of a long text the beginning."""
    return repr(value[: _LENGTH - 1] + "…" if isinstance(value, str) and len(value) > _LENGTH else value)


def _beginning_of(row: Mapping[str, Any]) -> str:
    """The first text of the row, that of a user before all others."""
    for name in TEXTS:
        value = row.get(name)
        said = [value] if isinstance(value, str) else [*map(_content, sorted(as_list(value) or (), key=_not_by_a_user))]
        found = next((text for text in said if text.strip()), "")
        if found:
            return found
    return ""


def _content(message: Any) -> str:
    said = message.get("content", message.get("value")) if isinstance(message, Mapping) else message
    return said if isinstance(said, str) else ""


def _not_by_a_user(message: Any) -> bool:
    return not (isinstance(message, Mapping) and message.get("role", message.get("from")) in ("user", "human"))
