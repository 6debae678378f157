"""Ways in which a trainer loses or moves weights, each noticed where it happens, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskkit.batching import DataCollator
from maskkit.errors import ConfigError, DataError
from maskkit.integrations.rows import mark_fillers
from maskkit.masker import IGNORE
from maskkit.records.names import RowName

MAP = "dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)"


def check_columns(dataset: Any, what: str) -> None:
    """Raises DataError if a data set that knows its columns has no weights.

    what: the name of the set in the message, such as ``train_dataset``.
    """
    names = getattr(dataset, "column_names", None)
    if not isinstance(names, (list, tuple)):
        return  # a stream without known columns, or a list of rows: each row is looked at when it comes
    missing = [name for name in ("input_ids", "loss_weights") if name not in names]
    if missing:
        raise DataError(
            f"{what} has no column {missing[0]!r} (found: {', '.join(sorted(names))}): make it with  {MAP}  and keep the column: packing, "
            "select_columns and remove_columns of other tools drop it"
        )


class CheckedCollator:
    """A collator that looks at each row before it is collated. ``most``: longest row that the trainer's options allow; None for any."""

    def __init__(self, collator: Callable[[Any], Any], most: int | None = None) -> None:
        self.collator, self._most = collator, most

    def __call__(self, rows: Sequence[Any]) -> Any:
        """The batch of ``rows``. Raises DataError, naming the row, for rows that lost or moved their weights on the way, ConfigError for
        rows that another tool has packed and the collator would take for one document."""
        for number, row in enumerate(rows):
            if isinstance(row, Mapping):
                own = self.collator if isinstance(self.collator, DataCollator) else None
                name = own.name_of(row, number) if own else RowName(row, number)
                if own and "seq_lengths" in row:
                    raise ConfigError(
                        f"{name} is packed (seq_lengths), and its documents would see each other: leave packing to "
                        "maskkit.DataCollator(tokenizer, packing=True)"
                    )
                check_row(row, name, self._most)
        batch = self.collator(rows)
        mark_fillers(rows, batch)
        return batch


def check_row(row: Mapping[str, Any], name: object, most: int | None = None) -> None:
    """Raises DataError if the row's weights do not belong to its tokens.

    most: more tokens than these are an error, since the trainer would not cut them.
    """
    for column in ("input_ids", "loss_weights"):
        if row.get(column) is None:
            raise DataError(f"{name} has no column {column!r} (found: {', '.join(sorted(row))}): make it with  {MAP}")
    length, weights = len(row["input_ids"]), np.asarray(row["loss_weights"])
    labels = None if row.get("labels") is None else np.asarray(row["labels"])
    for column, values in (("loss_weights", weights), ("labels", labels)):
        if values is not None and len(values) != length:
            raise DataError(
                f"{name} has {length} input_ids and {len(values)} {column}: something cut one column and not the other; cut rows with "
                "Masker(max_length=...), which cuts all of them"
            )
    if most is not None and length > most:
        raise DataError(
            f"{name} has {length} tokens, and max_length of the trainer is {most}, which is not applied to rows that are prepared: "
            "cut them with Masker(max_length=...) and set max_length=None there"
        )
    if labels is not None:
        _check_alignment(labels, weights, name)


def _check_alignment(labels: npt.NDArray[Any], weights: npt.NDArray[Any], name: object) -> None:
    """Labels and weights must agree on what is trained. The first token is never predicted, so it may say anything."""
    labelled, weighted = labels != IGNORE, weights != 0
    lost = weighted[1:] & ~labelled[1:]
    if not lost.any():
        return
    token = int(np.flatnonzero(lost)[0]) + 1
    found = f"{name}: token {token} has weight {weights[token]:g} and label {IGNORE}, so its weight would be lost"
    for moved, by in (((weighted[:-1], labelled[1:]), "left"), ((weighted[1:], labelled[:-1]), "right")):
        if np.array_equal(*moved) and labelled.any():
            raise DataError(f"{found}; they agree if the weights, one too far {by}, are moved: only the loss shifts")
    raise DataError(f"{found}; take both from masker.encode_batch, or leave the column labels out to let the weights decide")


def refuse(holds: bool, reason: str) -> None:
    """Raises ConfigError with ``reason`` if it ``holds``: an option of a trainer would be dropped, or would change the loss."""
    if holds:
        raise ConfigError(reason)
