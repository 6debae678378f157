"""Files are entered in their middle, at exactly the row where reading ended."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskkit.errors import DataError
from maskkit.records import read_records
from maskkit.records.resumable import Place, records_from

ROWS = [{"text": f"row {number} " + "é" * (number % 5)} for number in range(150)]


def jsonl(folder):
    path = folder / "rows.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    lines[3:3] = ["", "   "]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    return path


def parquet(folder):
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=70)
    return path


@pytest.mark.parametrize("write", [jsonl, parquet])
def test_every_place_is_one_to_go_on_from(tmp_path, write):
    path = write(tmp_path)
    whole = list(records_from(path, Place()))
    assert [(record.key, record.source) for record, _ in whole] == [(record.key, record.source) for record in read_records(path)]
    assert len(whole) == 150
    for number in (0, 2, 3, 63, 68, 69, 70, 139, 140, 148, 149):
        rest = list(records_from(path, whole[number][1]))
        assert [record.source for record, _ in rest] == [record.source for record, _ in whole[number + 1 :]]
        assert [place for _, place in rest] == [place for _, place in whole[number + 1 :]]


def test_what_cannot_be_entered_is_refused(tmp_path):
    for name in ("rows.jsonl.gz", "rows.json"):
        (tmp_path / name).write_text("[]")
        with pytest.raises(DataError, match="cannot be streamed"):
            records_from(tmp_path / name, Place())
    with pytest.raises(DataError, match="there is no file"):
        records_from(tmp_path / "none.jsonl", Place())
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        next(records_from(tmp_path / "bad.parquet", Place()))


def test_a_bad_row_is_named_by_its_line_wherever_reading_began(tmp_path):
    path = jsonl(tmp_path)
    path.write_bytes(path.read_bytes() + b"\n")
    place = list(records_from(path, Place()))[-1][1]
    path.write_bytes(path.read_bytes() + b"{no\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:153: not JSON"):
        list(records_from(path, place))
