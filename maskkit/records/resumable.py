"""Rows of a file from any place on, in constant memory: for data that is too large to be read whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from maskkit.errors import DataError
from maskkit.records.files import decoded_line, parsed_line
from maskkit.records.messages import without_nulls
from maskkit.records.prepared import made_with
from maskkit.records.record import Record, of_file, to_record
from maskkit.records.sources import data_files, no_file

ROWS_AT_A_TIME = 64
"""Rows that a Parquet file is decoded in."""


class Place(NamedTuple):
    """Where in a file reading goes on."""

    at: int = 0
    """Byte of a .jsonl file; row group of a .parquet file."""
    number: int = 0
    """Lines before that byte; rows of that group before the next one."""
    file: int = 0
    """Which file, where several are read one after another."""


def records_from(path: str | Path, place: Place) -> Iterator[tuple[Record, Place]]:
    """The records of a .jsonl, .ndjson or .parquet file from ``place`` to its end, each with the place behind it.

    Raises DataError at once as `check_streamable` does; on the way for a bad row.
    """
    path = Path(path)
    check_streamable(path)
    return _parquet_from(path, place) if path.name.lower().endswith(".parquet") else _lines_from(path, place)


def check_streamable(path: str | Path) -> None:
    """Raises DataError for a file that is missing, or of a type that cannot be entered in its middle."""
    path = Path(path)
    if not path.is_file():
        raise DataError(no_file(path))
    if not path.name.lower().endswith((".jsonl", ".ndjson", ".parquet")):
        raise DataError(
            f"{path}: a file of this type cannot be streamed, expected .jsonl, .ndjson or .parquet: convert it, or set data.streaming to "
            "false"
        )


def streamable_files(source: str) -> list[str]:
    """The files that a name stands for (`data_files`). Raises DataError where one cannot be streamed."""
    files = data_files(source)
    for file in files:
        check_streamable(file)
    return files


def _lines_from(path: Path, place: Place) -> Iterator[tuple[Record, Place]]:
    at, number = place.at, place.number
    with path.open("rb") as file:
        file.seek(at)
        for line in file:
            at, number = at + len(line), number + 1
            where = f"{path}:{number}"
            text = decoded_line(line, where, first=number == 1)
            if text.strip():
                yield to_record(parsed_line(text, where), where), Place(at, number, place.file)


def _parquet_from(path: Path, place: Place) -> Iterator[tuple[Record, Place]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = made_with(path)
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
                        record = to_record(without_nulls(row), f"{path}: row {before + number - 1}")
                        yield of_file(record, made), Place(group, number, place.file)
                before += number
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from None
