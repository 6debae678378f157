"""Rows that are tokens already, with the mask that another tool gave them.

{"input_ids": [...], "labels": [-100, ..., 5, 6]}
{"input_ids": [...], "loss_scale": [0, ..., 0.2, 1.0]}
{"input_ids": [...], "weight_values": [0, 1], "weight_lengths": [12, 5]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from maskkit.errors import DataError
from maskkit.records.attribution import Attribution, attribution_of
from maskkit.records.columns import numbers, whole

WEIGHTS = ("loss_weights", "loss_weight", "weights", "loss_scale", "loss_mask", "completion_mask", "assistant_masks")
"""Columns that say how much each token counts, under the names that trainers give them; the first that a row has is read."""

RUNS = ("weight_values", "weight_lengths")
"""Columns that say the same in runs of equal weights, as ``maskkit prepare --runs`` writes them."""

BOTH = ("completion_mask", "assistant_masks")
"""Where a row has both, a token counts if both say so, as TRL has it."""

_IGNORED = -100
_STARTS = ("seq_lengths", "document_ids", "seq_idx")


@dataclass(frozen=True, slots=True)
class GivenTokens:
    """The tokens of a row, T of them."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """How much each counts: what the row's column says, 0 where the label is -100."""
    columns: tuple[str, ...]
    """Where that stands in the row."""
    attribution: Attribution | None = None
    """What they are, where the row says it."""


def given_tokens(row: Mapping[str, Any], source: str) -> GivenTokens:
    """Read a row with ``input_ids``; what attention_mask says is padding is left out.

    Raises DataError, naming row and column, for columns that are no numbers or of another length, a row without any mask, labels that
    are not the row's own ids, and a packed row.
    """
    row = unrolled(row, source)
    ids = [whole(value, source, "input_ids") for value in numbers(row, "input_ids", source, None)]
    if not ids:
        raise DataError(f"{source}: input_ids are empty, expected at least one token")
    columns = [name for name in BOTH if row.get(name) is not None]
    if len(columns) < len(BOTH):
        columns = [name for name in WEIGHTS if row.get(name) is not None][:1]
    weights = [1.0] * len(ids)
    for name in columns:
        weights = [weight * value for weight, value in zip(weights, numbers(row, name, source, len(ids)), strict=True)]
    if row.get("labels") is not None:
        labels = numbers(row, "labels", source, len(ids))
        _check_labels(labels, ids, source)
        weights = [weight if label != _IGNORED else 0.0 for weight, label in zip(weights, labels, strict=True)]
        columns.append("labels")
    if not columns:
        raise DataError(f"{source}: neither labels nor {', '.join(WEIGHTS)} are beside input_ids, expected one value per token")
    mask = [1.0] * len(ids) if row.get("attention_mask") is None else numbers(row, "attention_mask", source, len(ids))
    kept = [number for number, value in enumerate(mask) if value]
    _refuse_packs(row, kept, source)
    attribution = attribution_of(row, kept, source)
    return GivenTokens(tuple(ids[n] for n in kept), tuple(weights[n] for n in kept), tuple(columns), attribution)


def unrolled(row: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The row with ``loss_weights`` in place of runs of weights, if it has those. Raises DataError for runs of a broken length."""
    if any(row.get(name) is None for name in RUNS):
        return row
    values, lengths = (numbers(row, name, source, None) for name in RUNS)
    if len(values) != len(lengths):
        raise DataError(f"{source}: {len(values)} weight_values and {len(lengths)} weight_lengths, expected as many")
    repeats = [whole(length, source, RUNS[1]) for length in lengths]
    weights = [value for value, times in zip(values, repeats, strict=True) for _ in range(times)]
    return {**{name: value for name, value in row.items() if name not in RUNS}, WEIGHTS[0]: weights}


def _check_labels(labels: Sequence[float], ids: Sequence[int], source: str) -> None:
    for token, (label, own) in enumerate(zip(labels, ids, strict=True)):
        if label not in (_IGNORED, own):
            raise DataError(
                f"{source}: the label of token {token} is {label:g}, expected its own id {own} or {_IGNORED}: labels are aligned with "
                "input_ids, and only the loss shifts them"
            )


def _refuse_packs(row: Mapping[str, Any], kept: Sequence[int], source: str) -> None:
    positions = row.get("position_ids")
    values = [] if positions is None else numbers(row, "position_ids", source, len(row["input_ids"]))
    anew = any(values[later] <= values[before] for before, later in pairwise(kept)) if values else False
    if anew or any(row.get(name) is not None for name in _STARTS):
        raise DataError(
            f"{source}: the row is a pack of several documents, expected one: take it apart with "
            "maskkit.integrations.prepared.prepared_batch, and let maskkit pack"
        )
