"""Files of ids and labels, whoever wrote them: a row a line of JSON, or the rows of a Parquet file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskkit.errors import DataError


def label_rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row stands (``labels.jsonl:7``), and the row. Raises DataError for what cannot be read."""
    file = Path(path)
    if not file.is_file():
        raise DataError(f"there is no file {path}")
    name = file.name.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        yield from _json_lines(file)
    elif name.endswith(".parquet"):
        yield from _parquet(file)
    else:
        raise DataError(f"{path}: unknown type of file, expected ids and labels in .jsonl, .ndjson (.gz is fine behind) or .parquet")


def _json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    opener: Any = gzip.open if file.suffix.lower() == ".gz" else open
    with opener(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{file}:{number}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{where}: not JSON: {' '.join(str(error).split())}") from None
                yield where, _checked(row, where)


def _parquet(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as rows:
            for batch in rows.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    yield f"{file}: row {number}", _checked(row, f"{file}: row {number}")
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file: {' '.join(str(error).split())}") from None


def _checked(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict) or "input_ids" not in row:
        found = f"the fields {', '.join(map(repr, row))}" if isinstance(row, dict) else type(row).__name__
        raise DataError(
            f"{where}: found {found}, expected input_ids with labels or loss_weights beside them (rows of text need no --format)"
        )
    return row
