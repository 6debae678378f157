"""Rows of unequal length become one batch, and nothing is silently out of step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskkit.batching import DataCollator, model_inputs, pad_column
from maskkit.errors import ConfigError, DataError, StrategyError
from tests.reference import Row, as_example


class Padding:
    pad_token_id, eos_token_id = 9, 2


def mapped(ids, weights, **more):
    return {"input_ids": ids, "loss_weights": weights, **more}


ROWS = [mapped([5, 6, 7, 8], [0.0, 0.0, 0.5, 1.0]), mapped([3, 4], [1.0, 2.0])]


def test_rows_are_padded_on_the_right():
    batch = DataCollator(Padding())(ROWS)
    assert {name: column.tolist() for name, column in batch.items()} == {
        "input_ids": [[5, 6, 7, 8], [3, 4, 9, 9]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]],
        "position_ids": [[0, 1, 2, 3], [0, 1, 0, 0]],
        "document_ids": [[0, 0, 0, 0], [1, 1, -1, -1]],
        "labels": [[-100, -100, 7, 8], [-100, 4, -100, -100]],
        "loss_weights": [[0, 0, 0.5, 1], [0, 2, 0, 0]],
    }
    assert {column.dtype for name, column in batch.items() if name != "loss_weights"} == {torch.int64}
    assert batch["loss_weights"].dtype == torch.float32


def test_examples_and_mapped_rows_give_the_same_batch():
    examples = [as_example(Row(torch.tensor(row["input_ids"]), torch.tensor(row["loss_weights"]))) for row in ROWS]
    arrays = [{name: np.array(column) for name, column in row.items()} for row in ROWS]
    expected = DataCollator(Padding())(ROWS)
    for given in (examples, arrays, [examples[0], ROWS[1]]):
        batch = DataCollator(Padding())(given)
        assert all(torch.equal(column, batch[name]) for name, column in expected.items())
        assert batch.keys() - expected.keys() == ({"kinds"} if given is examples else set())


def test_labels_of_the_row_can_take_tokens_out():
    batch = DataCollator(Padding())([mapped([5, 6, 7], [0.0, 1.0, 1.0], labels=[-100, -100, 7])])
    assert batch["labels"].tolist() == [[-100, -100, 7]]
    assert batch["loss_weights"].tolist() == [[0, 0, 1]]


def test_without_a_pad_token_another_id_serves_since_padding_is_masked():
    class NoPad:
        pad_token_id, eos_token_id = None, 2

    assert DataCollator(NoPad())(ROWS)["input_ids"][1].tolist() == [3, 4, 2, 2]


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        (mapped([1, 2, 3], [0.0, 1.0]), DataError, "loss_weights have shape"),
        (mapped([1, 2, 3], [0.0, 1.0, 1.0], labels=[1, 2]), DataError, "labels have shape"),
        (mapped([1, 2, 3], [0.0, 1.0, 1.0], labels=[2, 3, -100]), DataError, "only the loss shifts"),
        (mapped([], []), DataError, "at least one token"),
        ({"input_ids": [1, 2]}, DataError, "no column 'loss_weights'"),
        (mapped([1, 2], [0.0, float("nan")]), StrategyError, "token 1 is nan"),
    ],
)
def test_a_bad_row_is_named(row, error, words):
    with pytest.raises(error, match=f"row 1 of the batch.*{words}"):
        DataCollator(Padding())([ROWS[0], row])


def test_a_bad_example_is_named_by_its_source():
    example = as_example(Row(torch.tensor([1, 2, 3]), torch.tensor([0.0, 1.0])))
    with pytest.raises(DataError, match=example.tokens.record.source):
        DataCollator(Padding())([example])


def test_a_batch_of_no_rows_is_an_error():
    with pytest.raises(DataError, match="no rows"):
        DataCollator(Padding())([])


def test_packed_rows_stand_one_behind_the_other_and_are_told_apart_by_their_positions():
    batch = DataCollator(Padding(), packing=True)([ROWS, [mapped([6], [1.0]), ROWS[1]]])
    assert {name: column.tolist() for name, column in batch.items()} == {
        "input_ids": [[5, 6, 7, 8, 3, 4], [6, 3, 4, 9, 9, 9]],
        "position_ids": [[0, 1, 2, 3, 0, 1], [0, 0, 1, 0, 0, 0]],
        "document_ids": [[0, 0, 0, 0, 1, 1], [2, 3, 3, -1, -1, -1]],
        "labels": [[-100, -100, 7, 8, -100, 4], [-100, -100, 4, -100, -100, -100]],
        "loss_weights": [[0, 0, 0.5, 1, 0, 2], [0, 0, 2, 0, 0, 0]],
    }


def test_a_plain_list_is_one_pack_and_a_row_among_packs_is_alone():
    collate = DataCollator(Padding(), packing=True)
    assert collate(ROWS)["input_ids"].tolist() == [[5, 6, 7, 8, 3, 4]]
    assert collate([ROWS, ROWS[1]])["document_ids"].tolist() == [[0, 0, 0, 0, 1, 1], [2, 2, -1, -1, -1, -1]]


def test_packs_without_packing_are_refused():
    with pytest.raises(ConfigError, match="use packing=True"):
        DataCollator(Padding())([ROWS])


def test_a_model_gets_a_mask_or_positions_and_never_a_cache():
    """Both at once, or a cache, and transformers looks for no documents."""
    padded, packed = (model_inputs(DataCollator(Padding(), packing)(ROWS)) for packing in (False, True))
    assert sorted(padded) == ["attention_mask", "input_ids", "use_cache"]
    assert sorted(packed) == ["input_ids", "position_ids", "use_cache"]
    assert padded["use_cache"] is packed["use_cache"] is False


def test_any_per_token_column_can_be_padded():
    codes = [np.array([1, 2, 3], np.uint8), np.array([4], np.uint8)]
    assert pad_column(codes, 255).tolist() == [[1, 2, 3], [4, 255, 255]]
    assert pad_column(codes, -1.5, 4, torch.float32)[1].tolist() == [4, -1.5, -1.5, -1.5]
