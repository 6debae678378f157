"""Rows that fill up, so that ranks have equally many, are in no metric and in no prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import IterableDataset

import maskkit
from maskkit.integrations.rows import FilledStream, filled
from maskkit.integrations.transformers import WeightedTrainer
from tests.integrations.small import TOKENIZER, arguments, mapped, reference
from tests.reference import tiny_llama

ROWS = mapped(reference(count=5)[0])
TRAINED = [sum(weight != 0 for weight in row["loss_weights"][1:]) for row in ROWS]


def trained(labels: Any) -> list[int]:
    """How many tokens count in each row."""
    return [int((np.asarray(row)[1:] != -100).sum()) for row in labels]


class Seen:
    """What a function for metrics gets."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, prediction: Any, compute_result: bool = True) -> dict[str, Any]:
        self.calls.append(prediction)
        return {"calls": len(self.calls)}


def evaluated(folder: Path, rows: Any = None, packing: bool = False, **options: Any) -> tuple[WeightedTrainer, list[Any]]:
    seen = Seen()
    args = arguments(folder, per_device_eval_batch_size=2, include_for_metrics=["inputs", "loss"], **options)
    collator = maskkit.DataCollator(TOKENIZER, packing=packing)
    trainer = WeightedTrainer(tiny_llama(), args, eval_dataset=rows or filled(ROWS, 4), data_collator=collator, compute_metrics=seen)
    metrics = trainer.evaluate()
    assert metrics["eval_calls"] == len(seen.calls)
    assert metrics["eval_loss"] == pytest.approx(reference(count=5)[1], abs=1e-12)
    return trainer, seen.calls


def test_metrics_are_of_the_given_rows_with_their_inputs_and_losses(tmp_path: Path):
    _, (prediction,) = evaluated(tmp_path)
    assert trained(prediction.label_ids) == TRAINED
    assert len(prediction.predictions) == len(prediction.losses) == 5
    assert [row[: len(given["input_ids"])].tolist() for row, given in zip(prediction.inputs, ROWS, strict=True)] == [
        given["input_ids"] for given in ROWS
    ]


def test_batches_that_stay_apart_lose_theirs_too(tmp_path: Path):
    _, (prediction,) = evaluated(tmp_path, eval_do_concat_batches=False)
    for arrays in (prediction.predictions, prediction.label_ids, prediction.inputs, prediction.losses):
        assert [len(array) for array in arrays] == [2, 2, 1, 0]


def test_batch_by_batch_each_call_gets_given_rows(tmp_path: Path):
    _, calls = evaluated(tmp_path, batch_eval_metrics=True)
    assert [trained(call.label_ids) for call in calls] == [TRAINED[:2], TRAINED[2:4], TRAINED[4:], []]
    for call in calls:
        assert len(call.predictions) == len(call.losses) == len(call.inputs["input_ids"]) == len(call.label_ids)
        assert "fillers" not in call.inputs


def test_wherever_an_order_of_its_own_puts_them(tmp_path: Path):
    trainer, _ = evaluated(tmp_path)
    seen: Any = trainer.compute_metrics
    even = filled(ROWS, 4)
    trainer._get_eval_sampler = lambda rows: range(len(rows))[::-1]  # as grouping by length may do
    trainer.evaluate(even)
    assert trained(seen.calls[-1].label_ids) == TRAINED[::-1]
    assert trained(trainer.predict(even).label_ids) == TRAINED[::-1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_has_none_either(tmp_path: Path, workers: int):
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(ROWS)

    _, (prediction,) = evaluated(tmp_path, FilledStream(Stream(), 4), dataloader_num_workers=workers)
    assert sorted(trained(prediction.label_ids)) == sorted(TRAINED * max(workers, 1))


def test_a_pack_of_them_alone_is_left_out(tmp_path: Path):
    _, (prediction,) = evaluated(tmp_path, packing=True)
    assert trained(prediction.label_ids) == [sum(TRAINED[:2]), sum(TRAINED[2:4]), TRAINED[4]]


def test_a_trainer_without_a_function_and_a_set_without_them_stay_as_they_are(tmp_path: Path):
    trainer, (prediction,) = evaluated(tmp_path, ROWS)
    assert trained(prediction.label_ids) == TRAINED
    trainer.compute_metrics = None
    assert trainer.evaluate(filled(ROWS, 4))["eval_loss"] == pytest.approx(reference(count=5)[1], abs=1e-12)
    assert trainer.compute_metrics is None
