"""Rows of a file from any place on, in constant memory: for data that is too large to be read whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from maskkit.errors import DataError
from maskkit.records.files import decoded_line, no_file, parsed_json
from maskkit.records.messages import without_nulls
from maskkit.records.record import Record, to_record

ROWS_AT_A_TIME = 64
"""Rows that a Parquet file is decoded in."""


class Place(NamedTuple):
    """Where in a file reading goes on."""

    at: int = 0
    """Byte of a .jsonl file; row group of a .parquet file."""
    number: int = 0
    """Lines before that byte; rows of that group before the next one."""


def records_from(path: str | Path, place: Place) -> Iterator[tuple[Record, Place]]:
    """The records of a .jsonl, .ndjson or .parquet file from ``place`` to its end, each with the place behind it.

    Raises DataError at once for a file that is missing, or of a type that cannot be entered in its middle; on the way for a bad row.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(no_file(path))
    name = path.name.lower()
    if name.endswith((".jsonl", ".ndjson")):
        return _lines_from(path, place)
    if name.endswith(".parquet"):
        return _parquet_from(path, place)
    raise DataError(
        f"{path}: a file of this type cannot be streamed, expected .jsonl, .ndjson or .parquet: convert it, or set data.streaming to false"
    )


def _lines_from(path: Path, place: Place) -> Iterator[tuple[Record, Place]]:
    at, number = place
    with path.open("rb") as file:
        file.seek(at)
        for line in file:
            at, number = at + len(line), number + 1
            where = f"{path}:{number}"
            text = decoded_line(line, where, first=number == 1)
            if text.strip():
                yield to_record(parsed_json(text, where), where), Place(at, number)


def _parquet_from(path: Path, place: Place) -> Iterator[tuple[Record, Place]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=1 << 20) as file:
            before = sum(file.metadata.row_group(group).num_rows for group in range(place.at))
            for group in range(place.at, file.metadata.num_row_groups):
                done = place.number if group == place.at else 0
                number = 0
                for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, row_groups=[group], use_threads=False):
                    if number + len(batch) <= done:
                        number += len(batch)
                        continue
                    for row in batch.slice(max(done - number, 0)).to_pylist():
                        number = max(number, done) + 1
                        yield to_record(without_nulls(row), f"{path}: row {before + number - 1}"), Place(group, number)
                before += number
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from None
