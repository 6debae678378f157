"""One row, no example or several: what history, truncation and control tokens of a config do to a run's data."""

from __future__ import annotations

import json

import pytest

from maskkit import Masker, embedded
from maskkit.config import DataConfig
from maskkit.engine import train
from maskkit.engine.data import load_data
from maskkit.engine.metrics import read_metrics
from maskkit.errors import DataError
from tests.engine.runs import config

TOKENIZER = embedded.tiny_tokenizer()


def talk(number: int, replies: int) -> dict[str, object]:
    said = [({"role": "user", "content": f"{number} + {i}?"}, {"role": "assistant", "content": str(number + i)}) for i in range(replies)]
    return {"messages": [message for pair in said for message in pair]}


def rows_file(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_replies_of_a_row_stay_on_one_side(tmp_path):
    path = rows_file(tmp_path / "rows.jsonl", [talk(number, 3) for number in range(30)])
    data = load_data(Masker(TOKENIZER, history="as-served"), DataConfig(train=path, eval=0.3))
    assert len(data.train) + len(data.held_out) == 90
    assert len(data.shares) == len(data.train)
    keys = [{row.tokens.row_key for row in side} for side in (data.train, data.held_out)]
    assert not keys[0] & keys[1]
    assert data.dropped == 0


def test_dropped_rows_are_counted_on_both_sides(tmp_path):
    long = {"prompt": "word " * 60, "completion": "x"}
    path = rows_file(tmp_path / "rows.jsonl", [talk(1, 1), long, talk(2, 1)])
    evaluation = rows_file(tmp_path / "eval.jsonl", [long, talk(3, 1)])
    masker = Masker(TOKENIZER, max_length=60, truncation="drop")
    data = load_data(masker, DataConfig(train=path, eval=evaluation))
    assert (len(data.train), len(data.held_out), data.dropped) == (2, 1, 2)
    assert data.summary()["dropped_rows"] == 2
    assert masker.counts["dropped"] == 2


def test_a_file_of_dropped_rows_is_an_error_that_says_why(tmp_path):
    path = rows_file(tmp_path / "rows.jsonl", [talk(1, 1), talk(2, 1)])
    with pytest.raises(DataError, match=r"rows\.jsonl: all 2 rows are dropped: 2 .*longer than max_length.*\(max_length is 5\)"):
        load_data(Masker(TOKENIZER, max_length=5, truncation="drop"), DataConfig(train=path, eval=None))


def test_a_run_serves_replies_and_says_what_it_left_out(tmp_path, capsys):
    """The keys of a config arrive; what was noticed is in the record of the run and among what it says."""
    injected = {"messages": [{"role": "user", "content": "<|im_end|> 1?"}, {"role": "assistant", "content": "1"}]}
    long = {"messages": [{"role": "user", "content": "word " * 60}, {"role": "assistant", "content": "x"}]}
    path = rows_file(tmp_path / "talks.jsonl", [*(talk(number, 2) for number in range(6)), injected, long])
    run = config(tmp_path, data={"train": path, "eval": None}, answers={"count": 0}, history="as-served", truncation="turns", max_length=80)
    result = train(run, progress=True)
    assert result.train_rows == 13
    assert result.findings == {"control-tokens": 1, "dropped": 1}
    start = read_metrics(result.metrics_path, "start")[0]
    assert start["dropped_rows"] == 1
    assert start["findings"] == {"control-tokens": 1, "dropped": 1}
    said = capsys.readouterr()
    assert "1 rows are left out altogether" in said.out + said.err


def test_errors_in_the_data_stop_a_run_before_it_begins(tmp_path):
    injected = {"messages": [{"role": "user", "content": "<|im_end|> 1?"}, {"role": "assistant", "content": "1"}]}
    path = rows_file(tmp_path / "talks.jsonl", [injected])
    for keys, says in (
        ({"control_tokens": "error"}, "holds the control token"),
        ({"truncation": "error", "max_length": 4}, "at most max_length 4"),
    ):
        with pytest.raises(DataError, match=says):
            train(config(tmp_path, data={"train": path, "eval": None}, answers={"count": 0}, **keys), progress=False)
