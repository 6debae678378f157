"""Files of rows, read one row after another; a bad row names file, line or row, and field."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from maskkit.errors import DataError
from maskkit.records.messages import short, without_nulls
from maskkit.records.prepared import MadeWith, made_with
from maskkit.records.record import Record, of_file, to_record
from maskkit.records.sources import BUNDLED, EXPECTED, data_files

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row of a file that is no record."""

    source: str
    """Where it stands, as a record's."""
    error: DataError
    """What is wrong with it, beginning with ``source``."""


def read_records(source: str | Path) -> Iterator[Record]:
    """The records of a file, one after another, or of the files that a folder or a pattern stands for (`data_files`): ``.jsonl`` or
    ``.ndjson``, ``.json`` (a list of rows, or a row a line), ``.parquet``.

    Raises DataError: at once for a file that is missing or of another type, on the way for what cannot be read and for a bad row.
    """
    return map(readable, _read(source))


def read_values(source: str | Path) -> Iterator[tuple[str, Any]]:
    """Where each row of a source stands (``data.jsonl:7``), and its value: of a line that cannot be read, the DataError.

    Raises DataError as `read_records` does, but for a bad row.
    """
    return (value for _, read in _readers(source) for value in read())


def _read(source: str | Path) -> Iterator[Record | Unreadable]:
    return (_attempt(value, where, made) for made, read in _readers(source) for where, value in read())


def _readers(source: str | Path) -> list[tuple[MadeWith | None, Callable[[], Iterator[tuple[str, Any]]]]]:
    """For each file what its rows were made with, and what reads them: at once, whatever is wrong with the last one."""
    return [(made_with(Path(file)), _reader(Path(file))) for file in data_files(source)]


def _reader(path: Path) -> Callable[[], Iterator[tuple[str, Any]]]:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return partial(_read_json_lines, path)
    if name.endswith(".json"):
        return partial(_read_json, path)
    if path.name.lower().endswith(".parquet"):
        return partial(_read_parquet, path)
    raise DataError(f"{path}: unknown type of file, {EXPECTED}")


def read_rows(source: str | Path) -> Iterator[Record | Unreadable]:
    """Every row of a source, or of the bundled data set, also those that are no record: a bad row does not end the reading.

    Raises DataError as `read_values` does.
    """
    if str(source) == BUNDLED and not Path(source).exists():
        from maskkit import embedded

        return (to_record(row, f"{BUNDLED}:{number}") for number, row in enumerate(embedded.quickstart_rows(), 1))
    return _read(source)


def readable(row: Record | Unreadable) -> Record:
    """The record; raises the DataError of a row that is none."""
    if isinstance(row, Unreadable):
        raise row.error
    return row


def _attempt(value: Any, where: str, made: MadeWith | None) -> Record | Unreadable:
    try:
        if isinstance(value, DataError):
            raise value
        return of_file(to_record(value, where), made)
    except DataError as error:
        return Unreadable(where, error)


def records_of(data: str | Path | Iterable[Record | Mapping[str, Any]]) -> Iterator[Record]:
    """Records of a file, a folder or a pattern, of the bundled data set (by the name ``quickstart``), or of an iterable of rows."""
    if isinstance(data, (str, Path)):
        return map(readable, read_rows(data))
    if isinstance(data, Mapping):
        raise DataError(f"data is one object with the keys {', '.join(map(repr, data))}, expected rows: a list of one row, or one split")
    if not isinstance(data, Iterable):
        raise DataError(f"data is {short(data)}, expected a path or rows: an iterable of objects")
    if type(data).__module__.partition(".")[0] == "datasets":
        data = map(without_nulls, data)
    return (to_record(row, f"row {number}") for number, row in enumerate(data))


def _read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Bytes are split at line feeds before they are decoded, so that an error names the line that has it."""
    for number, line in enumerate(_lines(path), 1):
        where = f"{path}:{number}"
        try:
            text = decoded_line(line, where, first=number == 1)
            if not text.strip():
                continue
            value = parsed_line(text, where)
        except DataError as error:
            value = error
        yield where, value


def _read_json(path: Path) -> Iterator[tuple[str, Any]]:
    content = b"".join(_lines(path)).removeprefix(_BOM)
    if content.lstrip().startswith(b"{"):  # what many call .json has one row a line
        yield from _read_json_lines(path)
        return
    rows = parsed_json(_decoded(content, str(path)), str(path))
    if not isinstance(rows, list):
        raise DataError(f"{path}: found {short(rows)}, expected a JSON list of rows")
    yield from ((f"{path}: row {number}", row) for number, row in enumerate(rows))


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    yield f"{path}: row {number}", without_nulls(row)
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from None


def _lines(path: Path) -> Iterator[bytes]:
    opener = cast(Callable[[Path, str], BinaryIO], gzip.open if path.suffix.lower() == ".gz" else open)
    try:
        with opener(path, "rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def decoded_line(line: bytes, where: str, *, first: bool) -> str:
    """The text of a line, without its end and, in a file's first line, without the byte order mark. Raises DataError if it is not UTF-8."""
    return _decoded(line.removeprefix(_BOM) if first else line, where).rstrip("\r\n")


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        guess = " but UTF-16" if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
        place = f"byte 0x{line[error.start]:02x} at position {error.start}, {error.reason}"
        raise DataError(f"{where}: not UTF-8{guess}: {place}; save the file as UTF-8") from None


def parsed_line(text: str, where: str) -> Any:
    """The value of a line of JSON. Raises DataError, also where it begins a list of rows: a file that is one has another name."""
    if text.strip() == "[" or text.lstrip().startswith("[{"):
        raise DataError(
            f"{where}: the line begins a JSON list, expected one row (an object) a line; call a file that is a list of rows .json"
        )
    return parsed_json(text, where)


def parsed_json(text: str, where: str) -> Any:
    """The value of a JSON text. Raises DataError, naming the place in it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if "\n" not in text.strip() else f"line {error.lineno}, column {error.colno}"
        around = text[max(error.pos - 20, 0) : error.pos + 20]
        raise DataError(f"{where}: not JSON: {error.msg} at {place}, near {short(around)}") from None
    except RecursionError:
        raise DataError(f"{where}: not JSON that can be read: nested too deeply") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise DataError(f"{where}: not JSON that can be read: a number has too many digits") from None
