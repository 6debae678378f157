"""A small sample of the campaign that streams 2 GB."""

from __future__ import annotations

import json

import pytest

from tests.campaigns.streaming import MOST, measure, write_rows


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_goes_through_whole_and_memory_does_not_grow_with_it(tmp_path, capsys, kind):
    path = tmp_path / f"rows.{kind}"
    rows = write_rows(path, megabytes=4, characters=20_000)
    measure(str(path), buffer=60, rows=rows)
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == rows == 256
    assert found["grown"] < MOST
