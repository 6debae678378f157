"""Which rows are trained on and which are held out."""

from __future__ import annotations

import json
import random

import pytest

from maskkit import Masker, embedded
from maskkit.config import DataConfig
from maskkit.engine.data import load_data
from maskkit.errors import DataError

MASKER = Masker(embedded.tiny_tokenizer())


def rows_file(path, numbers):
    rows = ({"prompt": f"{number} + 1 = ", "completion": str(number + 1)} for number in numbers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def held_out(tmp_path, numbers, share=0.3, name="rows.jsonl"):
    data = load_data(MASKER, DataConfig(train=rows_file(tmp_path / name, numbers), eval=share))
    return {row.tokens.record.prompt for row in data.held_out}, {row.tokens.record.prompt for row in data.train}


def test_order_and_other_rows_move_no_row_across(tmp_path):
    numbers = list(range(60))
    out, kept = held_out(tmp_path, numbers)
    random.Random(0).shuffle(numbers)
    assert held_out(tmp_path, numbers)[0] == out
    more, _ = held_out(tmp_path, range(100))
    assert out <= more
    assert not more & kept


def test_equal_rows_stay_on_one_side(tmp_path):
    out, kept = held_out(tmp_path, [*range(40), *range(40)])
    assert not out & kept


def test_about_the_asked_share_is_held_out(tmp_path):
    out, kept = held_out(tmp_path, range(400), share=0.25)
    assert 0.18 < len(out) / (len(out) + len(kept)) < 0.32


def test_a_small_file_still_holds_one_row_out(tmp_path):
    out, kept = held_out(tmp_path, range(3), share=0.0001)
    assert (len(out), len(kept)) == (1, 2)


def test_no_share_holds_nothing_out(tmp_path):
    assert held_out(tmp_path, range(5), share=0.0)[0] == set()
    assert held_out(tmp_path, range(5), share=None)[0] == set()


def test_a_file_without_rows_is_named(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError, match=r"none\.jsonl"):
        load_data(MASKER, DataConfig(train=str(tmp_path / "none.jsonl"), eval=None))


def test_reasoning_can_be_written_into_the_reply(tmp_path):
    row = {"messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "reasoning_content": "2 and 3", "content": "5"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    texts = {}
    for way in ("field", "inline"):
        config = DataConfig(train=str(tmp_path / "rows.jsonl"), eval=None, reasoning=way)
        example = load_data(MASKER, config).train[0]
        texts[way] = example.tokens.text
        assert "reasoning" in example.tokens.kind
    assert "<think>2 and 3</think>5" in texts["field"]
    assert "<think>\n2 and 3\n</think>\n\n5" in texts["inline"]
