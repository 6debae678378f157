"""One file of a prepared data set: some rows in, a Parquet file out that says itself what is in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from maskkit.engine.durable import part_of, sync
from maskkit.errors import DataError
from maskkit.kinds import KINDS
from maskkit.masker import Example
from maskkit.prepare.settings import REFERENCE, Settings
from maskkit.records import Record
from maskkit.records.attribution import GENERATED, KINDS_COLUMN, MESSAGE, REPLY, ROLES, STRADDLE
from maskkit.tokens import message_roles

METADATA = b"maskkit"
"""Key of the file's own description in its schema."""


@dataclass
class Totals:
    """What some examples come to."""

    rows: int = 0
    """Records, dropped ones too."""
    examples: int = 0
    tokens: int = 0
    trained: int = 0
    """Tokens with a weight other than 0."""
    weight: float = 0.0
    """Sum of all weights."""
    kinds: dict[str, list[float]] = field(default_factory=dict)
    """By kind: tokens, trained tokens, sum of weights."""
    findings: dict[str, int] = field(default_factory=dict)
    """Rows by the code of what was noticed."""

    def add(self, other: Totals) -> None:
        """Take in what others come to."""
        for name in ("rows", "examples", "tokens", "trained", "weight"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, numbers in other.kinds.items():
            self.kinds[kind] = [a + b for a, b in zip(self.kinds.get(kind, [0, 0, 0.0]), numbers, strict=True)]
        self.findings = dict(sorted((Counter(self.findings) + Counter(other.findings)).items()))


def totals_of(rows: int, examples: Sequence[Example], findings: Mapping[str, int]) -> Totals:
    """Add up examples."""
    totals = Totals(rows=rows, examples=len(examples), findings=dict(sorted(findings.items())))
    for example in examples:
        codes, weights = example.tokens.kind_codes, example.loss_weights.astype(np.float64)
        tokens, trained = np.bincount(codes, minlength=len(KINDS)), np.bincount(codes[weights != 0], minlength=len(KINDS))
        sums = np.bincount(codes, weights=weights, minlength=len(KINDS))
        kinds = {kind: [int(tokens[code]), int(trained[code]), float(sums[code])] for code, kind in enumerate(KINDS) if tokens[code]}
        totals.add(Totals(0, 0, len(example), int((weights != 0).sum()), float(weights.sum()), kinds))
    totals.kinds = dict(sorted(totals.kinds.items()))
    return totals


def keys_digest(records: Iterable[Record]) -> str:
    """What tells whether a file was made of these rows: sha256 over the hashes of their content."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(record.key.encode())
    return digest.hexdigest()


def table_of(examples: Sequence[Example], settings: Settings, reference: Sequence[npt.NDArray[np.float32]] | None = None) -> pa.Table:
    """The columns of a file, one row per example. Raises DataError, naming row and token, where labels cannot say what weights say."""
    columns: dict[str, pa.Array] = {"input_ids": _lists([example.input_ids for example in examples], pa.int32())}
    if settings.weights == "runs":
        runs = [runs_of(example.loss_weights) for example in examples]
        columns["weight_values"] = _lists([values for values, _ in runs], pa.float32())
        columns["weight_lengths"] = _lists([lengths for _, lengths in runs], pa.int32())
    else:
        columns["loss_weights"] = _lists([example.loss_weights for example in examples], pa.float32())
    if settings.labels:
        for example in examples:
            _check_labels(example)
        columns["labels"] = _lists([example.labels for example in examples], pa.int32())
    tables = [example.tokens for example in examples]
    columns[KINDS_COLUMN] = _lists([tokens.kind_codes for tokens in tables], pa.uint8())
    columns[GENERATED] = _lists([tokens.generated for tokens in tables], pa.bool_())
    columns[STRADDLE] = _lists([tokens.straddle for tokens in tables], pa.bool_())
    columns[MESSAGE] = _lists([tokens.message for tokens in tables], pa.int32())
    columns[ROLES] = pa.array([list(message_roles(tokens.record)) for tokens in tables], pa.list_(pa.string()))
    columns[REPLY] = pa.array([tokens.reply for tokens in tables], pa.int32())
    if reference is not None:
        columns[REFERENCE] = _lists(list(reference), pa.float32())
    columns["row_key"] = pa.array([tokens.row_key for tokens in tables], pa.string())
    columns["source"] = pa.array([tokens.record.source for tokens in tables], pa.string())
    return pa.table(columns)


def runs_of(weights: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """(values, lengths) of the runs of equal weights; ``numpy.repeat(values, lengths)`` gives the weights again."""
    starts = np.flatnonzero(np.append(True, weights[1:] != weights[:-1]))
    return weights[starts], np.diff(np.append(starts, len(weights))).astype(np.int32)


def write_shard(table: pa.Table, path: Path, rows: str, totals: Totals) -> None:
    """Write a file as a whole or not at all; its schema holds the digest of its rows and what they come to."""
    about = json.dumps({"rows": rows, "totals": asdict(totals)}, sort_keys=True)
    part = part_of(path)
    try:
        pq.write_table(table.replace_schema_metadata({METADATA: about.encode()}), part, compression="zstd")
        sync(part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    sync(path.parent)


def read_about(path: Path, rows: str) -> Totals | None:
    """What a file comes to, if it is there, whole, and made of the rows with that digest."""
    try:
        about: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[METADATA])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    return Totals(**about["totals"]) if about["rows"] == rows else None


def _lists(columns: Sequence[npt.NDArray[Any]], dtype: pa.DataType) -> pa.Array:
    offsets = np.cumsum([0, *map(len, columns)], dtype=np.int32)
    values = np.concatenate(columns) if columns else np.zeros(0)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values.astype(dtype.to_pandas_dtype()), dtype))


def _check_labels(example: Example) -> None:
    bad = np.flatnonzero((example.loss_weights != 0) & (example.loss_weights != 1))
    if len(bad):
        token = int(bad[0])
        raise DataError(
            f"{example.tokens.record.source}: token {token} ({example.tokens.piece(token)!r}) has the weight "
            f"{example.loss_weights[token]:g}, and labels can only say that a token counts or does not: "
            "leave the column labels out, and train with loss_weights"
        )
