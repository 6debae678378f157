"""Packing, batches by tokens and grouping by length, chosen in a config."""

from __future__ import annotations

import shutil

import pytest

from maskkit.engine import train
from maskkit.engine.metrics import read_metrics
from maskkit.errors import ConfigError
from tests.engine.runs import config, dropout_model, measured, weights_of, write_rows

WAYS = {
    "packing": {"packing": True, "per_device_train_batch_size": 2},
    "tokens": {"batch_tokens": 200},
    "packed tokens": {"packing": True, "batch_tokens": 300},
    "length": {"group_by_length": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_run_ends_as_if_it_had_never_ended(tmp_path, way):
    training = {"max_steps": 5, "save_steps": 2, "keep_last": None, "eval_steps": 0} | WAYS[way]
    how = {"model": dropout_model(tmp_path / "model"), "max_length": 150, "answers": {"count": 0}}
    chosen = config(tmp_path, **how, training=training)
    whole = train(chosen, progress=False)
    before, weights = measured(whole.metrics_path), weights_of(whole.model_dir)
    for step in (4, 5):
        shutil.rmtree(whole.output_dir / "checkpoints" / f"step-{step}")
    shutil.rmtree(whole.model_dir)
    again = train(chosen, progress=False, resume=True)
    assert measured(again.metrics_path) == before
    assert weights_of(again.model_dir) == weights


def test_how_rows_are_batched_changes_no_loss(tmp_path):
    """One step over all rows: the same mean, whatever the micro-batches are."""
    rows = write_rows(tmp_path / "rows.jsonl", 8)
    whole = {"max_steps": 1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "eval_steps": 0, "warmup_steps": 0}
    ways = [
        whole,
        whole | {"group_by_length": True},
        whole | {"batch_tokens": 256},
        whole | {"per_device_train_batch_size": 1, "packing": True},
    ]
    lines = []
    for number, training in enumerate(ways):
        chosen = config(tmp_path, f"{number}", data={"train": rows, "eval": None}, training=training, answers={"count": 0}, max_length=256)
        lines += read_metrics(train(chosen, progress=False).metrics_path, "train")
    assert {(line["tokens"], line["trained_tokens"]) for line in lines} == {(lines[0]["tokens"], lines[0]["trained_tokens"])}
    assert max(line["loss"] for line in lines) - min(line["loss"] for line in lines) < 1e-6


def test_a_model_that_cannot_pack_is_refused_before_anything_is_written(tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    from maskkit import embedded

    tokenizer = embedded.tiny_tokenizer()
    shape = {"hidden_size": 16, "head_dim": 8, "num_heads": 4, "state_size": 8, "n_groups": 1, "expand": 2, "num_hidden_layers": 1}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("mamba2", vocab_size=len(tokenizer), **shape))
    model.save_pretrained(tmp_path / "mamba")
    tokenizer.save_pretrained(tmp_path / "mamba")
    with pytest.raises(ConfigError, match=r"mamba' \(Mamba2ForCausalLM\) lets packed documents see each other.*training\.packing to false"):
        train(config(tmp_path, model=str(tmp_path / "mamba"), training={"packing": True}), progress=False)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("changed", ["batch_tokens", "group_by_length", "packing"])
def test_another_way_of_batching_is_another_run(tmp_path, changed):
    short = {"max_steps": 1, "save_steps": 1, "eval_steps": 0}
    train(config(tmp_path, training=short, answers={"count": 0}), progress=False)
    other = short | {changed: 4096 if changed == "batch_tokens" else True}
    with pytest.raises(ConfigError, match=f"training.{changed} was"):
        train(config(tmp_path, training=other, answers={"count": 0}), progress=False, resume=True)
