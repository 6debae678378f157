"""The rows of a run: read, tokenized once, and split into those to train on and those held out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maskkit.errors import DataError, TrainingError
from maskkit.masker import Example, Masker
from maskkit.records import Record, records_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A file of rows, and how often each of its rows is seen in one epoch."""

    path: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run trains on and what it is measured on."""

    train: list[Example]
    shares: list[float]
    """For each training row, how often it is seen in one epoch."""
    held_out: list[Example]

    def trained_kinds(self) -> list[str]:
        """Kinds of which some token counts."""
        return sorted({str(kind) for row in self.train for kind in set(row.tokens.kind[row.loss_weights != 0].tolist())})


def load_data(masker: Masker, train: Sequence[Source], evaluation: str | float | None) -> RunData:
    """Read and encode all rows.

    evaluation: a file of held-out rows, or the share of the training rows to hold out. Which ones is decided by the hash of a row's
    content, so equal rows stay together, and adding rows or changing their order moves none across. None or 0 holds out nothing.

    Raises DataError where a file or row is wrong or nothing is left to train on, TrainingError if the strategy trains no token at all.
    """
    rows = [(record, source.share) for source in train for record in records_of(source.path)]
    if isinstance(evaluation, str):
        held_out = list(records_of(evaluation))
        _report_leaks((record for record, _ in rows), held_out)
    else:
        keys = _held_out_keys([record for record, _ in rows], evaluation or 0.0)
        held_out = [record for record, _ in rows if record.key in keys]
        rows = [(record, share) for record, share in rows if record.key not in keys]
    if not rows:
        raise DataError(f"{', '.join(source.path for source in train)}: no row is left to train on ({len(held_out)} are held out)")
    data = RunData([_encode(masker, record) for record, _ in rows], [share for _, share in rows], [_encode(masker, r) for r in held_out])
    if not any(row.loss_weights.any() for row in data.train):
        raise TrainingError(
            f"strategy {masker.strategy.label!r} trains no token of any of the {len(rows)} rows: look with  maskkit preview"
        )
    return data


def _encode(masker: Masker, record: Record) -> Example:
    return masker.example(*masker.tokens(record))


def _held_out_keys(records: Sequence[Record], share: float) -> set[str]:
    """Keys whose hash falls below the share; where that is none although a share was asked for, the lowest one."""
    keys = {record.key for record in records}
    chosen = {key for key in keys if int(key, 16) < share * 16 ** len(key)}
    return chosen or ({min(keys)} if share > 0 and len(keys) > 1 else set())


def _report_leaks(train: Iterable[Record], held_out: Sequence[Record]) -> None:
    keys = {record.key for record in held_out}
    leaked = sum(record.key in keys for record in train)
    if leaked:
        logger.warning("%d training rows are also among the held-out rows: their loss and answers say nothing about new rows", leaked)
