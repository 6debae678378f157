"""Each known way to lose or move weights is made to happen, and is noticed with what to do about it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, default_data_collator

import maskkit
from maskkit.errors import ConfigError, DataError, TrainingError
from maskkit.integrations.guards import check_row
from maskkit.integrations.transformers import WeightedTrainer
from tests.integrations.small import TOKENIZER, arguments, in_order
from tests.reference import tiny_llama

COLLATOR = maskkit.DataCollator(TOKENIZER)


def encoded(**changes: Any) -> dict[str, Any]:
    """A row as encode_batch maps it: three tokens of a prompt, three of a reply that weigh 0, .5 and 1."""
    ids, weights = np.array([5, 6, 7, 8, 9, 10]), np.array([0, 0, 0, 0, 0.5, 1], np.float32)
    return {"input_ids": ids, "labels": np.where(weights != 0, ids, -100), "loss_weights": weights, **changes}


def train(rows: Any, folder: Path, collator: Any = COLLATOR, **options: Any) -> None:
    trainer = WeightedTrainer(
        tiny_llama(), arguments(folder, per_device_train_batch_size=2, **options), train_dataset=rows, data_collator=collator
    )
    trainer.train()


def test_a_row_that_is_all_right():
    check_row(encoded(), "row 0")
    check_row({key: value for key, value in encoded().items() if key != "labels"}, "row 0")


def test_a_removed_column_is_noticed_before_training(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([encoded()] * 4).remove_columns("loss_weights")
    with pytest.raises(DataError, match=re.escape("train_dataset has no column 'loss_weights' (found: input_ids, labels): make it with")):
        train(rows, tmp_path)


def test_a_data_set_that_was_never_mapped_is_noticed_before_training(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"messages": [{"role": "user", "content": "x"}]}])
    with pytest.raises(DataError, match=re.escape("dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)")):
        train(rows, tmp_path)


def test_a_column_removed_from_rows_that_come_one_by_one(tmp_path: Path):
    with pytest.raises(DataError, match="row 1 of the batch has no column 'loss_weights'"):
        train([encoded(), {"input_ids": [1, 2], "labels": [1, 2]}], tmp_path)


def test_a_collator_that_drops_weights(tmp_path: Path):
    def forgetful(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = COLLATOR(rows)
        del batch["loss_weights"]
        return batch

    with pytest.raises(DataError, match=r"the batch has no loss_weights \(found: .*\): .* collate with maskkit\.DataCollator"):
        train([encoded()] * 2, tmp_path, forgetful)


def test_a_collator_of_the_house_gives_no_mask(tmp_path: Path):
    with pytest.raises(DataError, match=r"the batch has no attention_mask .* collate with maskkit\.DataCollator"):
        train([encoded()] * 2, tmp_path, default_data_collator)


def test_rows_cut_by_something_that_leaves_the_weights(tmp_path: Path):
    """As TRL's own preparation cuts ids and labels."""
    row = encoded()
    row |= {"input_ids": row["input_ids"][:4], "labels": row["labels"][:4]}
    with pytest.raises(DataError, match=r"row 0 of the batch has 4 input_ids and 6 loss_weights: .* Masker\(max_length=\.\.\.\)"):
        train([row] * 2, tmp_path)


def test_rows_longer_than_the_trainer_says():
    with pytest.raises(DataError, match=r"row 0 has 6 tokens, and max_length of the trainer is 4, .* Masker\(max_length=\.\.\.\)"):
        check_row(encoded(), "row 0", most=4)


@pytest.mark.parametrize(("shift", "side"), [(-1, "left"), (1, "right")])
def test_weights_that_were_shifted_already(shift: int, side: str):
    row = {name: np.append(values, [-100 if name == "labels" else 0]) for name, values in encoded().items()}
    row["loss_weights"] = np.roll(row["loss_weights"], shift)
    with pytest.raises(DataError, match=f"one too far {side}, are moved: only the loss shifts"):
        check_row(row, "row 0")


def test_labels_that_were_shifted_already(tmp_path: Path):
    row = encoded()
    row |= {"labels": np.roll(row["labels"], -1), "loss_weights": np.roll(row["loss_weights"], -1)}
    with pytest.raises(DataError, match="labels are aligned with input_ids, and only the loss shifts them"):
        train([row] * 2, tmp_path)


def test_a_mask_that_contradicts_the_weights():
    with pytest.raises(DataError, match=r"token 2 has weight 1 and label -100, so its weight would be lost; take both from"):
        check_row(encoded(loss_weights=[0, 0, 1, 1, 1, 1]), "row 0")


def test_rows_that_another_tool_has_packed(tmp_path: Path):
    rows = [{**encoded(), "seq_lengths": [3, 3]}] * 2
    with pytest.raises(ConfigError, match=r"row 0 of the batch is packed \(seq_lengths\).*DataCollator\(tokenizer, packing=True\)"):
        train(rows, tmp_path)


def test_a_step_that_trains_nothing(tmp_path: Path):
    rows = [encoded()] * 2 + [encoded(loss_weights=np.zeros(6), labels=np.full(6, -100))] * 2
    args = arguments(tmp_path, per_device_train_batch_size=2, max_steps=2)
    trainer = in_order(WeightedTrainer(tiny_llama(), args, train_dataset=rows, data_collator=COLLATOR))
    with pytest.raises(TrainingError, match=re.escape("step 2: normalization 'weights' is zero") + ".*dataset.filter"):
        trainer.train()


def test_an_evaluation_of_nothing(tmp_path: Path):
    rows = [encoded(loss_weights=np.zeros(6), labels=np.full(6, -100))]
    with pytest.raises(TrainingError, match="Evaluation: no token of the rows has a weight"):
        WeightedTrainer(tiny_llama(), arguments(tmp_path), eval_dataset=rows, data_collator=COLLATOR).evaluate()


def test_a_loss_that_is_not_finite_is_logged_as_it_is(tmp_path: Path):
    model = tiny_llama()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    trainer = WeightedTrainer(model, arguments(tmp_path), train_dataset=[encoded()], data_collator=COLLATOR)
    trainer.train()
    assert np.isnan(trainer.state.log_history[0]["loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor would be dropped"),
        ({"use_liger_kernel": True}, "liger_kernel_config={'fused_linear_cross_entropy': False}"),
    ],
)
def test_options_that_would_change_the_loss(options: dict[str, Any], message: str, tmp_path: Path):
    trainer = WeightedTrainer(tiny_llama(), arguments(tmp_path), train_dataset=[encoded()], data_collator=COLLATOR)
    for name, value in options.items():
        setattr(trainer.args, name, value)
    with pytest.raises(ConfigError, match=re.escape(message)):
        trainer._refuse_what_changes_the_loss()


def test_a_loss_function_without_weights(tmp_path: Path):
    with pytest.raises(ConfigError, match="compute_loss_func gets no weights"):
        WeightedTrainer(tiny_llama(), arguments(tmp_path), train_dataset=[encoded()], data_collator=COLLATOR, compute_loss_func=print)


def test_a_model_whose_rows_are_split_over_ranks(tmp_path: Path):
    trainer = WeightedTrainer(tiny_llama(), arguments(tmp_path), train_dataset=[encoded()], data_collator=COLLATOR)
    trainer.model._tp_size = 2
    with pytest.raises(ConfigError, match="tp_size is 2: rows that several ranks share would count several times"):
        trainer._refuse_what_changes_the_loss()


def test_a_forward_that_was_replaced_afterwards(tmp_path: Path):
    model = tiny_llama()
    trainer = WeightedTrainer(model, arguments(tmp_path), train_dataset=[encoded()], data_collator=COLLATOR)
    model.forward = type(model).forward.__get__(model)
    with pytest.raises(ConfigError, match="something has replaced the model's forward"):
        trainer.train()


def test_what_is_no_language_model():
    from maskkit.integrations.global_batch import GlobalBatchLoss

    with pytest.raises(ConfigError, match="Linear has no get_output_embeddings"):
        GlobalBatchLoss(torch.nn.Linear(2, 2))


def test_deepspeed_casts_inputs_but_not_weights(tmp_path: Path):
    """Under DeepSpeed the Trainer casts all that is not whole to the model's dtype; .3 in bfloat16 is .30078125."""
    trainer = WeightedTrainer(tiny_llama(), arguments(tmp_path), train_dataset=[encoded()], data_collator=COLLATOR)
    trainer.is_deepspeed_enabled = True
    plugin = SimpleNamespace(hf_ds_config=SimpleNamespace(dtype=lambda: torch.bfloat16))
    trainer.accelerator = SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin))
    batch = COLLATOR([encoded(loss_weights=[0, 0, 0, 0, 0.3, 0.3])])
    prepared = trainer._prepare_inputs(batch)
    assert torch.equal(prepared["loss_weights"], batch["loss_weights"])


def test_a_plain_trainer_ignores_weights_without_a_word_as_the_page_says(tmp_path: Path):
    """Nobody of maskkit's is asked there, so all that can be done is to say it; labels still mask."""

    def first_loss(cls: Any, *weights: float) -> float:
        reply = np.array([0, 0, 0, 0, *weights], np.float32)
        row = encoded(loss_weights=reply, labels=np.where(reply != 0, encoded()["input_ids"], -100))
        options = arguments(tmp_path, per_device_train_batch_size=2, remove_unused_columns=False)
        trainer = cls(tiny_llama(), options, train_dataset=[row] * 2, data_collator=COLLATOR)
        return float(trainer.train().training_loss)

    assert first_loss(Trainer, 0.5, 1) == first_loss(Trainer, 1, 1) != first_loss(Trainer, 0, 1)
    assert first_loss(WeightedTrainer, 0.5, 1) != pytest.approx(first_loss(WeightedTrainer, 1, 1), rel=1e-4)
    page = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text()
    assert "the plain `Trainer` with `remove_unused_columns=False`" in page.partition("## How weights get lost")[2]
