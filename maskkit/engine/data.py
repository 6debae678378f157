"""The rows of a run: read, tokenized once, and split into those to train on and those held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskkit.errors import DataError, TrainingError
from maskkit.findings import CODES
from maskkit.masker import Example, Masker
from maskkit.records import Record, records_of, with_inline_reasoning

if TYPE_CHECKING:
    from maskkit.config import DataConfig


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run trains on and what it is measured on."""

    train: list[Example]
    shares: list[float]
    """For each training row, how often it is seen in one epoch."""
    held_out: list[Example]
    leaked: int = 0
    """Training rows that are also among the held-out rows: measurements on those say nothing about new rows."""
    dropped: int = 0
    """Rows of either sort that make no example: too long under ``truncation: drop`` or ``turns``, or without a reply to serve."""

    @property
    def lengths(self) -> list[int]:
        """For each training row, how many tokens it has."""
        return [len(row) for row in self.train]

    def summary(self) -> dict[str, int]:
        """Rows and tokens, for the record."""
        return {
            "train_rows": len(self.train),
            "train_tokens": sum(self.lengths),
            "eval_rows": len(self.held_out),
            "eval_tokens": sum(len(row) for row in self.held_out),
            "leaked_rows": self.leaked,
            "dropped_rows": self.dropped,
        }

    def trained_kinds(self) -> list[str]:
        """Kinds of which some token counts."""
        return sorted({str(kind) for row in self.train for kind in set(row.tokens.kind[row.loss_weights != 0].tolist())})


def load_data(masker: Masker, config: DataConfig) -> RunData:
    """Read and encode all rows.

    Where a share of the training rows is held out, which ones is decided by the hash of a row's content: equal rows stay together, and
    adding rows or changing their order moves none across.

    A row makes one example, none where it is dropped, or one per reply under ``history: as-served``; those stay on one side.

    Raises DataError where a file or row is wrong or nothing is left to train on, TrainingError if the strategy trains no token at all.
    """
    rows = [(record, source.weight) for source in config.sources for record in _read(source.path, config)]
    if isinstance(config.eval, str):
        held_out = list(_read(config.eval, config))
        known = {record.key for record in held_out}
        leaked = sum(record.key in known for record, _ in rows)
    else:
        leaked = 0
        keys = _held_out_keys([record for record, _ in rows], config.eval or 0.0)
        held_out = [record for record, _ in rows if record.key in keys]
        rows = [(record, share) for record, share in rows if record.key not in keys]
    if not rows:
        raise DataError(f"{', '.join(source.path for source in config.sources)}: no row to train on ({len(held_out)} are held out)")
    train = [(examples, share) for record, share in rows if (examples := masker.examples(record))]
    evaluation = [examples for record in held_out if (examples := masker.examples(record))]
    if not train:
        raise DataError(f"{', '.join(source.path for source in config.sources)}: all {len(rows)} rows are dropped{_why_dropped(masker)}")
    if not any(example.loss_weights.any() for examples, _ in train for example in examples):
        raise TrainingError(
            f"strategy {masker.strategy.label!r} trains no token of any of the {len(rows)} rows: look with  maskkit preview"
        )
    return RunData(
        train=[example for examples, _ in train for example in examples],
        shares=[share for examples, share in train for _ in examples],
        held_out=[example for examples in evaluation for example in examples],
        leaked=leaked,
        dropped=len(rows) - len(train) + len(held_out) - len(evaluation),
    )


def _why_dropped(masker: Masker) -> str:
    reasons = [f"{masker.counts[code]} {CODES[code]}" for code in ("dropped", "no-reply", "prompt-refused") if masker.counts[code]]
    return f": {'; '.join(reasons)} (max_length is {masker.max_length})"


def _read(path: str, config: DataConfig) -> Iterator[Record]:
    records = records_of(path)
    return map(with_inline_reasoning, records) if config.reasoning == "inline" else records


def _held_out_keys(records: Sequence[Record], share: float) -> set[str]:
    """Keys whose hash falls below the share; where that is none although a share was asked for, the lowest one."""
    keys = {record.key for record in records}
    chosen = {key for key in keys if int(key, 16) < share * 16 ** len(key)}
    return chosen or ({min(keys)} if share > 0 and len(keys) > 1 else set())
