"""Rows that other tools have prepared, with their masks under their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskkit
from maskkit import embedded
from maskkit.errors import DataError
from maskkit.integrations.prepared import prepared_batch
from tests.integrations.small import TOKENIZER, apart, arguments, reference, trainer_step
from tests.reference import tiny_llama

IDS = [5, 6, 7, 8]


def weights_of(**columns: Any) -> list[float]:
    batch = prepared_batch({"input_ids": [IDS], **{name: [value] for name, value in columns.items()}})
    assert [list(ids) for ids in batch["input_ids"]] == [IDS]
    np.testing.assert_array_equal(batch["labels"][0], np.where(batch["loss_weights"][0] != 0, IDS, -100))
    return [round(float(weight), 6) for weight in batch["loss_weights"][0]]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"labels": [-100, -100, 7, 8]}, [0, 0, 1, 1]),
        ({"assistant_masks": [0, 0, 0, 1]}, [0, 0, 0, 1]),
        ({"completion_mask": [0, 1, 1, 1]}, [0, 1, 1, 1]),
        ({"completion_mask": [0, 1, 1, 1], "assistant_masks": [1, 0, 1, 1]}, [0, 0, 1, 1]),
        ({"labels": [-100, -100, 7, 8], "loss_scale": [1.0, 1.0, 0.2, 2.0]}, [0, 0, 0.2, 2]),
        ({"loss_weight": [0.5, 0.5, 0.5, 0.5]}, [0, 0.5, 0.5, 0.5]),
        ({"loss_mask": [1, 1, 0, 1], "labels": None}, [0, 1, 0, 1]),
    ],
)
def test_masks_by_their_names(columns: dict[str, Any], expected: list[float]):
    assert weights_of(**columns) == expected


def test_packed_and_padded_rows_become_their_documents():
    batch = prepared_batch(
        {
            "input_ids": [[5, 6, 7, 8, 9, 0]],
            "labels": [[5, 6, 7, 8, 9, -100]],
            "position_ids": [[0, 1, 2, 0, 1, 0]],
            "attention_mask": [[1, 1, 1, 1, 1, 0]],
        }
    )
    assert [list(ids) for ids in batch["input_ids"]] == [[5, 6, 7], [8, 9]]
    assert [list(weights) for weights in batch["loss_weights"]] == [[0, 1, 1], [0, 1]]


def test_rows_without_a_mask_are_an_error():
    with pytest.raises(DataError, match="row 0 of the batch: neither labels nor"):
        prepared_batch({"input_ids": [IDS]})
    with pytest.raises(DataError, match="row 31: neither labels nor"):
        prepared_batch({"input_ids": [IDS]}, [31])
    with pytest.raises(DataError, match=r"row 0 of the batch \(source 'rows.jsonl:7'\): neither labels nor"):
        prepared_batch({"input_ids": [IDS], "source": ["rows.jsonl:7"]})
    with pytest.raises(DataError, match=r"row 0 of the batch: loss_scale has shape \(2,\), expected \(4,\)"):
        prepared_batch({"input_ids": [IDS], "loss_scale": [[1.0, 1.0]]})


def test_what_a_trainer_makes_of_them_is_the_loss_of_their_weights(tmp_path: Path):
    rows, _, gradients = reference()
    columns = {"input_ids": [row.ids.tolist() for row in rows], "loss_scale": [row.weights.tolist() for row in rows]}
    batch = prepared_batch(columns)
    data = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    assert apart(trainer_step(tmp_path, data, 3, 3)[1], gradients) < 1e-10


def test_what_trl_prepares_weighs_what_trl_trains(tmp_path: Path):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"prompt": "1 + 1 is", "completion": " 2."}, {"prompt": "2 + 2 is", "completion": " four."}])
    tokenizer = embedded.tiny_tokenizer()
    model = tiny_llama(vocab_size=len(tokenizer))
    prepared = trl.SFTTrainer(
        model, arguments(tmp_path, trl.SFTConfig, bf16=False), train_dataset=rows, processing_class=tokenizer
    ).train_dataset
    weighted = prepared.map(prepared_batch, batched=True, remove_columns=prepared.column_names)
    for before, after in zip(prepared, weighted, strict=True):
        assert after["input_ids"] == before["input_ids"]
        assert after["labels"][1:] == before["labels"][1:]
        assert [weight != 0 for weight in after["loss_weights"][1:]] == [label != -100 for label in before["labels"][1:]]
    assert maskkit.DataCollator(TOKENIZER)(weighted.to_list())["loss_weights"].sum() > 0
