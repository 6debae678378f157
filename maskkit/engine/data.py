"""The rows of a run: read, tokenized once, and split into those to train on and those held out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskkit.engine.rows import StoredRows
from maskkit.errors import DataError, TrainingError
from maskkit.findings import CODES
from maskkit.masker import Masker
from maskkit.masker.pool import Encoded, encode_all
from maskkit.records import Record, data_files, records_of, with_inline_reasoning

if TYPE_CHECKING:
    from maskkit.config import DataConfig
    from maskkit.config.run_config import DataSource
    from maskkit.engine.distributed import Ranks

Encode = Callable[[Iterable[Record]], Iterator[Encoded]]
"""Makes examples of records, in order: here, or in worker processes."""


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run trains on and what it is measured on."""

    train: StoredRows
    shares: list[float]
    """For each training row, how often it is seen in one epoch."""
    held_out: StoredRows = field(default_factory=StoredRows)
    leaked: int = 0
    """Training rows that are also among the held-out rows: measurements on those say nothing about new rows."""
    dropped: int = 0
    """Rows of either sort that make no example: too long under ``truncation: drop`` or ``turns``, or without a reply to serve."""
    streamed: bool = False
    """Training rows are read as they are needed: ``train`` has the first ones only, which stand for all."""

    @property
    def lengths(self) -> list[int]:
        """For each training row, how many tokens it has."""
        return self.train.lengths

    @property
    def stop_ids(self) -> set[int]:
        """Ids of the tokens that end a turn in the rows."""
        return self.train.stop_ids | self.held_out.stop_ids

    def summary(self) -> dict[str, Any]:
        """Rows, tokens and weights, for the record."""
        if self.streamed:
            return {"eval_rows": len(self.held_out), "eval_tokens": sum(self.held_out.lengths)}
        return {
            "train_rows": len(self.train),
            "train_tokens": sum(self.lengths),
            "eval_rows": len(self.held_out),
            "eval_tokens": sum(self.held_out.lengths),
            "leaked_rows": self.leaked,
            "dropped_rows": self.dropped,
            "train_kinds": self.train.kinds,
            "trained_kinds": self.trained_kinds(),
        }

    def trained_kinds(self) -> list[str]:
        """Kinds of which some token counts."""
        return self.train.trained_kinds


class _Side:
    """Examples of one side of the split, and which record each comes from."""

    def __init__(self) -> None:
        self.rows, self.keys, self.shares, self.records, self.dropped = StoredRows(), list[str](), list[float](), 0, 0

    def add(self, encoded: Encoded, key: str, share: float) -> None:
        self.records += 1
        self.dropped += not encoded.rows
        for row, content in encoded.rows:
            self.rows.append(row, content)
            self.keys.append(key)
            self.shares.append(share)


def load_data(masker: Masker, config: DataConfig, encode: Encode | None = None) -> RunData:
    """Read and encode all rows. encode: in worker processes; by the masker itself if not given.

    Where a share of the training rows is held out, which ones is decided by the hash of a row's content: equal rows stay together, and
    adding rows or changing their order moves none across.

    A row makes one example, none where it is dropped, or one per reply under ``history: as-served``; those stay on one side.

    Raises DataError where a file or row is wrong or nothing is left to train on, TrainingError if the strategy trains no token at all.
    """
    encode = encode or (lambda records: encode_all(masker, records))
    train, held_out = _Side(), _Side()
    known: set[str] = set()
    if isinstance(config.eval, str):
        for record, encoded in _encoded(read_rows(config.eval, config), encode):
            known.add(record.key)
            held_out.add(encoded, record.key, 1.0)
    held_out_keys = _held_out_keys(config)
    leaked = 0
    for source in config.sources:
        for record, encoded in _encoded(read_rows(source.path, config), encode):
            leaked += record.key in known
            side = held_out if record.key in held_out_keys else train
            side.add(encoded, record.key, source.weight)
    _check(train, held_out, masker, config)
    return RunData(train.rows, train.shares, held_out.rows, leaked, train.dropped + held_out.dropped)


def read_rows(path: str, config: DataConfig) -> Iterator[Record]:
    """The records of a file, folder or pattern, as the config wants them read."""
    return map(as_asked(config), records_of(path))


def as_asked(config: DataConfig) -> Callable[[Record], Record]:
    """What the config wants done with each record."""
    return with_inline_reasoning if config.reasoning == "inline" else lambda record: record


def files_of(config: DataConfig) -> list[str]:
    """Names of the files of a run, in the order in which they are read; those held out come last."""
    named = [source.path for source in config.sources] + ([config.eval] if isinstance(config.eval, str) else [])
    return [file for source in named for file in data_files(source)]


def check_same_files(config: DataConfig, ranks: Ranks) -> None:
    """Raises DataError, on all ranks, where one of them finds other files than the first: what they plan together would be other rows."""
    first, *others = ranks.collect(files_of(config))
    for rank, files in enumerate(others, 1):
        if files != first:
            name = min({*first} ^ {*files})
            has, lacks = (0, rank) if name in first else (rank, 0)
            raise DataError(f"data: rank {has} finds {name} and rank {lacks} does not: all processes have to see the same files")


def told(source: DataSource) -> str:
    """A source of rows, and how many files a folder or pattern stands for."""
    files = data_files(source.path)
    return source.path if files == [source.path] else f"{source.path} ({len(files)} file{'s' if len(files) > 1 else ''})"


def is_held_out(key: str, share: float) -> bool:
    """Whether the hash of a row, 16 hexadecimal digits, falls below the share."""
    return int(key, 16) < share * float(16 ** len(key))


def _encoded(records: Iterable[Record], encode: Encode) -> Iterator[tuple[Record, Encoded]]:
    """Each record with what became of it; records are read ahead of their examples no further than `encode` does."""
    waiting: deque[Record] = deque()

    def noted() -> Iterator[Record]:
        for record in records:
            waiting.append(record)
            yield record

    for encoded in encode(noted()):
        yield waiting.popleft(), encoded


def _held_out_keys(config: DataConfig) -> set[str]:
    """Keys of the rows below the share; where that is none although a share was asked for, the lowest one."""
    share = config.eval if isinstance(config.eval, float) else 0.0
    if not share:
        return set()
    keys = {record.key for source in config.sources for record in read_rows(source.path, config)}
    chosen = {key for key in keys if is_held_out(key, share)}
    return chosen or ({min(keys)} if len(keys) > 1 else set())


def _check(train: _Side, held_out: _Side, masker: Masker, config: DataConfig) -> None:
    files = ", ".join(source.path for source in config.sources)
    if not train.records:
        raise DataError(f"{files}: no row to train on ({held_out.records} are held out)")
    if not train.rows:
        raise DataError(f"{files}: all {train.records} rows are dropped{why_dropped(masker)}")
    if not train.rows.trained:
        raise TrainingError(
            f"strategy {masker.strategy.label!r} trains no token of any of the {train.records} rows: look with  maskkit preview"
        )


def why_dropped(masker: Masker) -> str:
    """What became of rows that make no example, for an error."""
    reasons = [f"{masker.counts[code]} {CODES[code]}" for code in ("dropped", "no-reply", "prompt-refused") if masker.counts[code]]
    return f": {'; '.join(reasons)} (max_length is {masker.max_length})"
