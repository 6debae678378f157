"""TRL's SFTTrainer: gradients as its float32 kernel allows, packs with their weights, its metrics, and what it would lose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import maskkit
from maskkit import embedded
from maskkit.errors import ConfigError, DataError
from tests.integrations.small import TOKENIZER, GradientsBeforeStep, apart, arguments, in_order, mapped, reference
from tests.reference import NORMALIZATIONS, sequence_log_probs, tiny_llama

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

from maskkit.integrations.trl import PackedCollator, WeightedSFTTrainer, documents_of_pack, pack  # noqa: E402

KERNEL = 1e-6
"""TRL's kernel computes in float32."""


def trainer(folder: Path, rows: Any, options: dict[str, Any] | None = None, **others: Any) -> WeightedSFTTrainer:
    args = arguments(folder, trl.SFTConfig, bf16=False, **(options or {}))
    rows = datasets.Dataset.from_list(rows) if isinstance(rows, list) else rows
    model = others.pop("model", None) or tiny_llama()
    return in_order(WeightedSFTTrainer(model, args, train_dataset=rows, processing_class=embedded.tiny_tokenizer(), **others))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradients_are_those_of_the_reference(normalization: str, tmp_path: Path):
    rows, loss, gradients = reference(normalization)
    grab = GradientsBeforeStep()
    split = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 3}
    run = trainer(tmp_path, mapped(rows), split, callbacks=[grab], normalization=normalization).train()
    assert apart(grab.gradients, gradients) < KERNEL
    assert run.training_loss == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("normalization", ["weights", "sequences"])
def test_packs_take_their_weights_with_them(normalization: str, tmp_path: Path):
    rows, _, gradients = reference(normalization)
    packs = pack(datasets.Dataset.from_list(mapped(rows)), 40)
    assert len(packs) < len(rows)
    grab = GradientsBeforeStep()
    split = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    trainer(tmp_path, packs, split, callbacks=[grab], normalization=normalization).train()
    assert apart(grab.gradients, gradients) < KERNEL


def test_rows_laid_one_behind_the_other(tmp_path: Path):
    rows, _, gradients = reference()
    grab, collator = GradientsBeforeStep(), maskkit.DataCollator(TOKENIZER, packing=True)
    trainer(tmp_path, mapped(rows), {"per_device_train_batch_size": 8}, callbacks=[grab], data_collator=collator).train()
    assert apart(grab.gradients, gradients) < KERNEL


def test_its_metrics_are_kept_and_are_those_of_trained_tokens(tmp_path: Path):
    rows, loss, _ = reference()
    run = trainer(
        tmp_path,
        mapped(rows),
        {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 3},
        eval_dataset=datasets.Dataset.from_list(mapped(rows)),
    )
    run.train()
    logged, measured = run.state.log_history[0], run.evaluate()
    assert measured["eval_loss"] == pytest.approx(loss, abs=1e-6)
    assert {"eval_entropy", "eval_mean_token_accuracy"} <= run.state.log_history[-1].keys()
    assert logged["num_tokens"] == sum(len(row.ids) for row in rows)

    entropies = []
    for row in rows:
        distribution = torch.log_softmax(tiny_llama()(input_ids=row.ids[None]).logits[0, :-1], -1)
        entropies.append(-(distribution.exp() * distribution).sum(-1)[row.weights[1:] != 0])
    assert logged["entropy"] == pytest.approx(float(torch.cat(entropies).detach().mean()), abs=1e-5)


def test_losses_of_kinds(tmp_path: Path):
    rows, _, _ = reference()
    data = [{**row, "kinds": [3] * len(row["input_ids"])} for row in mapped(rows)]
    run = trainer(tmp_path, data, {"per_device_train_batch_size": 8})
    run.train()
    losses = torch.cat([-sequence_log_probs(tiny_llama(), row.ids)[1:][row.weights[1:] != 0] for row in rows])
    assert run.state.log_history[0]["loss_answer"] == pytest.approx(float(losses.detach().mean()), abs=1e-6)


def test_metrics_of_ones_own_get_logits(tmp_path: Path):
    rows, loss, _ = reference()
    seen = []
    evaluated = datasets.Dataset.from_list(mapped(rows))
    run = trainer(tmp_path, mapped(rows), eval_dataset=evaluated, compute_metrics=lambda p: seen.append(p.predictions.shape) or {})
    with pytest.warns(FutureWarning, match="deprecated"):
        measured = run.evaluate()
    assert measured["eval_loss"] == pytest.approx(loss, abs=1e-6)
    assert seen[0][-1] == 97


def test_what_its_own_preparation_does_to_weights(tmp_path: Path):
    """The reason for guards: weights are left uncut, and dropped by packing, without a word."""
    rows = datasets.Dataset.from_list([{**row, "labels": row["input_ids"]} for row in mapped(reference()[0])])
    args = arguments(tmp_path, trl.SFTConfig, bf16=False, max_length=8)
    prepared = trl.SFTTrainer(tiny_llama(), args, train_dataset=rows, processing_class=embedded.tiny_tokenizer()).train_dataset
    assert any(len(row["input_ids"]) < len(row["loss_weights"]) for row in prepared)
    with pytest.raises(DataError, match="something cut one column and not the other"):
        trainer(tmp_path, prepared).train()

    args = arguments(tmp_path, trl.SFTConfig, bf16=False, max_length=40, packing=True)
    packed = trl.SFTTrainer(tiny_llama(), args, train_dataset=rows, processing_class=embedded.tiny_tokenizer()).train_dataset
    with pytest.raises(DataError, match=re.escape("has no column 'loss_weights'")):
        trainer(tmp_path, packed)


def test_rows_that_it_would_have_cut(tmp_path: Path):
    with pytest.raises(DataError, match=r"max_length of the trainer is 4, which is not applied .* set max_length=None"):
        trainer(tmp_path, mapped(reference()[0]), {"max_length": 4}).train()
    with pytest.raises(DataError, match=r"a row has 23 tokens and would be cut to 4: make rows with Masker\(max_length=4\)"):
        pack(datasets.Dataset.from_list(mapped(reference()[0])), 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"packing": True}, "packing=True would drop the weights: use maskkit.integrations.trl.pack"),
        ({"padding_free": True, "max_length": None}, "padding_free=True: use data_collator=maskkit.DataCollator(tokenizer, packing=True)"),
        ({"loss_type": "dft"}, "loss_type='dft' would be dropped"),
        ({"assistant_only_loss": True}, "assistant_only_loss=True would be dropped: the strategy of the Masker"),
        ({"completion_only_loss": True}, "completion_only_loss=True would be dropped"),
    ],
)
def test_options_that_would_be_dropped(options: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=re.escape(message)):
        trainer(tmp_path, mapped(reference()[0]), options)


def test_packs_that_do_not_add_up():
    with pytest.raises(DataError, match=r"a pack has 3 tokens, and its seq_lengths add up to 4: make it with pack\(\)"):
        list(documents_of_pack({"input_ids": [1, 2, 3], "loss_weights": [0, 1, 1], "seq_lengths": [2, 2]}))
    batch = PackedCollator(TOKENIZER)([{"input_ids": [1, 2, 3], "loss_weights": [0, 1, 1]}])
    assert batch["position_ids"].tolist() == [[0, 1, 2]]
