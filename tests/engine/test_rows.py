"""Rows of a run are kept as a few bytes, and come back as they were."""

from __future__ import annotations

import pickle
from itertools import islice

import numpy as np
import pytest

from maskkit import Masker, embedded
from maskkit.engine.rows import StoredRows
from maskkit.masker.stored import restored, stored

TOKENIZER = embedded.tiny_tokenizer()
ROWS = [
    {"messages": [{"role": "user", "content": "6 + 5?"}, {"role": "assistant", "content": "11", "weight": 0.5}]},
    {"messages": [{"role": "user", "content": "Nothing"}]},
    {"prompt": "1 + 1 = ", "completion": "2"},
]
COLUMNS = ["ids", "kind", "role", "message", "turn", "generated", "field", "tool", "straddle", "char_start", "char_end", "data_weights"]


def examples():
    masker = Masker(TOKENIZER, "from-data", seed=3)
    return [masker(row) for row in ROWS]


@pytest.mark.parametrize("worked_out", [False, True])
def test_an_example_comes_back_as_it_was(worked_out):
    for example in examples():
        if worked_out:
            assert len(example.tokens.kind) == len(example.tokens.role)
        again = restored(stored(example))
        assert np.array_equal(again.loss_weights, example.loss_weights)
        assert again.input_ids is again.tokens.ids
        assert again.warnings == example.warnings
        for column in COLUMNS:
            np.testing.assert_array_equal(getattr(again.tokens, column), getattr(example.tokens, column), err_msg=column)
        for name in ("text", "record", "row_key", "seed", "reply"):
            assert getattr(again.tokens, name) == getattr(example.tokens, name)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_table_that_went_from_process_to_process_is_read_only_too(protocol):
    tokens = pickle.loads(pickle.dumps(examples()[0].tokens, protocol))
    for column in (tokens.kind_codes, tokens.ids, tokens.generated):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
    with pytest.raises(AttributeError):
        tokens.text = "x"


def test_what_was_worked_out_of_a_table_is_not_stored():
    example = examples()[0]
    before = len(pickle.dumps(example))
    assert example.tokens.where(role="assistant").any()
    assert len(pickle.dumps(example)) == before


def test_a_run_knows_its_rows_without_making_them_again():
    rows, given = StoredRows(examples()), examples()
    assert len(rows) == 3
    assert rows.lengths == [len(row) for row in given]
    assert rows.trained == 2
    assert rows.trained_kinds == ["answer", "stop"]
    assert rows.stop_ids == {int(row.input_ids[row.tokens.kind == "stop"][-1]) for row in (given[0], given[2])}
    assert [row.tokens.text for row in rows] == [rows[number].tokens.text for number in range(3)] == [row.tokens.text for row in given]
    assert [len(row) for row in rows[1:]] == rows.lengths[1:]


def test_a_row_takes_a_fraction_of_its_table():
    """Short rows, which take the most: 121 bytes a token as objects, 168 with the names of kinds, 20 stored."""
    given = list(islice(embedded.quickstart_rows(), 60))
    rows = StoredRows(Masker(TOKENIZER).stream(given))
    assert sum(len(rows.content(number)) for number in range(len(rows))) / sum(rows.lengths) < 25
