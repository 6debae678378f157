"""From a config to a model on disk: what a run leaves behind, finished or not."""

from __future__ import annotations

import json
import math
import random
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import maskkit
from maskkit import embedded
from maskkit.config import RunConfig
from maskkit.engine import train
from maskkit.engine.metrics import read_metrics
from maskkit.errors import ConfigError, DataError, TrainingError
from tests.engine.runs import chat, config, measured, write_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run, with its result."""
    return train(config(tmp_path_factory.mktemp("finished")), progress=False)


def test_the_folder_holds_everything(finished):
    names = {child.name for child in finished.output_dir.iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "run.json", "curves.svg", "report.html", "samples.jsonl", "model"}
    assert RunConfig.load(finished.output_dir / "config.yaml").model == "tiny"
    assert yaml.safe_load((finished.output_dir / "config.yaml").read_text())["training"]["max_steps"] == 6
    ET.parse(finished.curves_path)


def test_the_result_says_what_the_files_say(finished):
    train_lines = read_metrics(finished.metrics_path, "train")
    evaluations = read_metrics(finished.metrics_path, "eval")
    assert [line["step"] for line in train_lines] == [1, 2, 3, 4, 5, 6]
    assert (finished.first_loss, finished.last_loss) == (train_lines[0]["loss"], train_lines[-1]["loss"])
    assert [line["step"] for line in evaluations] == [0, 3, 6]
    assert (finished.eval_before.loss, finished.eval_after.loss) == (evaluations[0]["loss"], evaluations[-1]["loss"])
    assert finished.kinds == evaluations[-1]["kinds"]
    assert read_metrics(finished.metrics_path)[-1]["event"] == "end"
    samples = [json.loads(line) for line in finished.samples_path.read_text().splitlines()]
    assert [sample["source"] for sample in samples[:3]] == [sample.source for sample in finished.samples]
    assert finished.answers == len(samples) == 4
    assert finished.accuracy == sum(sample["correct"] for sample in samples) / 4


def test_an_untrained_model_starts_at_about_the_logarithm_of_its_vocabulary_and_learns(finished):
    vocabulary = len(embedded.tiny_tokenizer())
    assert finished.first_loss == pytest.approx(math.log(vocabulary), rel=0.1)
    assert finished.last_loss < finished.first_loss
    assert finished.eval_after.loss < finished.eval_before.loss


def test_learning_rate_follows_the_schedule(finished):
    rates = [line["learning_rate"] for line in read_metrics(finished.metrics_path, "train")]
    assert rates[:3] == pytest.approx([1.5e-3, 3e-3, 3e-3])
    assert rates[2] > rates[3] > rates[4] > rates[5] > 0


def test_rows_are_either_trained_or_held_out(finished):
    assert finished.train_rows + finished.eval_rows == 24
    assert finished.eval_rows >= 1
    assert 0 < finished.trained_share < 1


def test_transformers_loads_the_model_with_its_tokenizer_and_template(finished):
    model = AutoModelForCausalLM.from_pretrained(finished.model_dir)
    tokenizer = AutoTokenizer.from_pretrained(finished.model_dir)
    messages = [{"role": "user", "content": "こんにちは"}]
    assert tokenizer.chat_template == embedded.tiny_tokenizer().chat_template
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    assert ids.tolist() == [embedded.tiny_tokenizer().apply_chat_template(messages, add_generation_prompt=True, return_dict=False)]
    assert torch.isfinite(model(ids).logits).all()
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_saved_model_is_the_trained_one(finished):
    """It gives the held-out loss that the run ended with: train a second run from it with a learning rate that moves nothing."""
    source = json.loads(json.dumps(yaml.safe_load((finished.output_dir / "config.yaml").read_text())))
    source |= {"model": str(finished.model_dir), "output_dir": str(finished.output_dir.parent / "again"), "answers": {"count": 0}}
    source["training"] |= {"max_steps": 1, "learning_rate": 1e-12, "warmup_steps": 0}
    again = train(RunConfig.from_mapping(source), progress=False)
    assert again.eval_before.loss == pytest.approx(finished.eval_after.loss, rel=1e-5)


def test_one_seed_gives_one_run_and_another_seed_another(tmp_path):
    small = {"max_steps": 3, "eval_steps": 0}
    first, second = (train(config(tmp_path, name, training=small), progress=False) for name in ("a", "b"))
    other = train(config(tmp_path, "c", training=small | {"seed": 1}), progress=False)
    assert measured(first.metrics_path) == measured(second.metrics_path)
    assert measured(first.metrics_path) != measured(other.metrics_path)
    assert first.samples_path.read_text() == second.samples_path.read_text()


def test_every_source_of_randomness_is_seeded(tmp_path):
    """Dropout, strategies that draw, an untrained model: all of them from the config's seed."""
    drawn = []
    for number in range(2):
        train(config(tmp_path, f"run-{number}", training={"max_steps": 2, "seed": 5}, answers={"count": 0}), progress=False)
        drawn.append((random.random(), np.random.random(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("normalization", ["weights", "absolute", "tokens", "sequences"])
def test_accumulation_is_the_same_as_one_big_batch(tmp_path, normalization):
    """The split of a global batch moves no loss: 8 x 1, 2 x 4 and 1 x 8 rows."""
    losses = []
    for size, parts in ((8, 1), (4, 2), (1, 8)):
        how = {"max_steps": 3, "per_device_train_batch_size": size, "gradient_accumulation_steps": parts, "eval_steps": 0}
        changes = {"training": how, "loss": {"normalization": normalization}, "answers": {"count": 0}}
        strategy = {"name": "weighted", "reasoning": 0.3, "answer": 1.0}
        result = train(config(tmp_path, f"run-{size}", strategy=strategy, **changes), progress=False)
        losses.append([line["loss"] for line in read_metrics(result.metrics_path, "train")])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)


def test_the_same_engine_pre_trains_on_plain_text(tmp_path):
    rows = write_rows(tmp_path / "text.jsonl", make=lambda n: {"text": f"{n} and 1 make {n + 1}. " * 3})
    changes = {"data": {"train": rows, "eval": 0.2}, "strategy": "causal", "training": {"max_steps": 4}}
    result = train(config(tmp_path, **changes), progress=False)
    assert result.last_loss < result.first_loss
    assert set(result.kinds) == {"text", "stop"}
    assert result.accuracy is None
    assert result.samples[0].completion


def test_without_held_out_rows_nothing_is_evaluated(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl")
    result = train(config(tmp_path, data={"train": rows, "eval": None}, answers={"count": 0}, training={"max_steps": 2}), progress=False)
    assert (result.eval_before, result.eval_after, result.accuracy, result.kinds) == (None, None, None, {})
    assert not read_metrics(result.metrics_path, "eval")


def test_a_file_of_held_out_rows_and_several_training_files(tmp_path):
    data = {
        "train": [write_rows(tmp_path / "a.jsonl", 6), {"path": write_rows(tmp_path / "b.jsonl", 5), "weight": 2.0}],
        "eval": write_rows(tmp_path / "held-out.jsonl", 3, make=lambda n: chat(f"And {n} + 2?", "x", str(n + 2))),
    }
    result = train(config(tmp_path, data=data, training={"max_steps": 2}), progress=False)
    assert (result.train_rows, result.eval_rows) == (11, 3)
    assert (result.rows_seen, result.epochs) == (16, 1.0)  # of 6 + 2 * 5


def test_a_checkpoint_is_a_model_that_transformers_loads(tmp_path):
    result = train(config(tmp_path, training={"max_steps": 4, "save_steps": 2}, answers={"count": 0}), progress=False)
    halfway = AutoModelForCausalLM.from_pretrained(result.output_dir / "checkpoints" / "step-2")
    assert AutoTokenizer.from_pretrained(result.output_dir / "checkpoints" / "step-2").chat_template
    end, last = (AutoModelForCausalLM.from_pretrained(path) for path in (result.model_dir, result.output_dir / "checkpoints" / "step-4"))
    assert all(torch.equal(a, b) for a, b in zip(end.state_dict().values(), last.state_dict().values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(end.parameters(), halfway.parameters(), strict=True))


def test_a_run_is_not_overwritten_unless_asked(tmp_path):
    again = config(tmp_path, training={"max_steps": 2}, answers={"count": 0})
    train(again, progress=False)
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    with pytest.raises(ConfigError, match="already holds a run"):
        train(again, progress=False)
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before
    result = train(again.model_copy(update={"overwrite_output_dir": True}), progress=False)
    assert len(read_metrics(result.metrics_path, "train")) == 2


def test_a_run_that_diverges_says_so_and_leaves_what_it_knew(tmp_path):
    wild = {"learning_rate": 1e30, "max_steps": 20, "warmup_steps": 0, "max_grad_norm": None}
    with pytest.raises(TrainingError, match="expected a finite number"):
        train(config(tmp_path, training=wild), progress=False)
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert lines[-1]["event"] == "failed"
    assert "expected a finite number" in lines[-1]["error"]
    assert not (tmp_path / "run" / "model").exists()
    assert (tmp_path / "run" / "curves.svg").exists()


STRATEGY_FILE = """
import maskkit


class Mine(maskkit.Strategy):
    "A strategy of a test."

    name = "mine"
    signed = {signed}

    def weights(self, tokens):
        return {weights}
"""


def strategy_file(path, weights, signed=False):
    path.write_text(STRATEGY_FILE.format(weights=weights, signed=signed))
    return f"{path}:Mine"


def test_a_strategy_that_trains_nothing_is_stopped_before_training(tmp_path):
    nothing = strategy_file(tmp_path / "none.py", "tokens.ids * 0.0")
    with pytest.raises(TrainingError, match="trains no token"):
        train(config(tmp_path, strategy=nothing), progress=False)
    assert not (tmp_path / "run").exists()


def test_negative_weights_need_a_normalization_that_cannot_cancel(tmp_path):
    weights = "tokens.where(kind='answer') * 1.0 - 0.5 * tokens.where(kind='reasoning')"
    signed = strategy_file(tmp_path / "signed.py", weights, signed=True)
    chosen = {"strategy": signed, "training": {"max_steps": 2}, "answers": {"count": 0}}
    with pytest.raises(ConfigError, match=r"loss\.normalization cannot be 'weights'"):
        train(config(tmp_path, **chosen), progress=False)
    assert train(config(tmp_path, loss={"normalization": "absolute"}, **chosen), progress=False).steps == 2


def test_wrong_data_is_named_before_anything_is_written(tmp_path):
    rows = tmp_path / "bad.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "a"}]}\n{"messages": 3}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:2"):
        train(config(tmp_path, data={"train": str(rows), "eval": None}, answers={"count": 0}), progress=False)
    assert not (tmp_path / "run").exists()


def test_lines_are_printed_where_there_is_no_terminal(tmp_path, capsys):
    train(config(tmp_path, training={"max_steps": 3}, answers={"count": 0}), progress=True)
    said = capsys.readouterr().err
    assert "step 1/3  loss" in said
    assert "% trained" in said
    assert "held-out loss" in said


def test_rows_that_are_in_both_files_are_counted_and_said(tmp_path, capsys):
    rows = write_rows(tmp_path / "rows.jsonl", 8)
    few = write_rows(tmp_path / "few.jsonl", 3)
    result = train(config(tmp_path, data={"train": rows, "eval": few}, training={"max_steps": 2}, answers={"count": 0}), progress=True)
    assert read_metrics(result.metrics_path, "start")[0]["leaked_rows"] == 3
    assert "3 training rows are also held out" in capsys.readouterr().err


def test_what_is_no_config_is_told_how_to_become_one():
    with pytest.raises(maskkit.ConfigError, match=r"found str: read one with RunConfig.load\(path\)"):
        maskkit.train("quickstart")
