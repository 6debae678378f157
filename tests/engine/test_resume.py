"""A resumed run is the run that never ended: weights, metrics and position, to the last bit."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from maskkit.config import RunConfig
from maskkit.engine import train
from maskkit.engine.metrics import read_metrics
from maskkit.engine.resume import differences, is_fixed
from maskkit.errors import ConfigError
from tests.engine.runs import config, dropout_model, measured, weights_of, write_rows

STEPS = 7
ANSWERS = {"count": 1, "max_new_tokens": 4}
RANDOM_STRATEGY = """
import random

import numpy as np
import torch

import maskkit


class Drawn(maskkit.Strategy):
    "Draws from every generator, so that all of them have to be restored."

    name = "drawn"

    def weights(self, tokens):
        return tokens.where(kind="answer") * (random.random() + np.random.rand() + torch.rand(()).item())
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted, with a checkpoint of every step. 18 rows and 8 a step: steps cross the ends of epochs."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "drawn.py").write_text(RANDOM_STRATEGY)
    training = {"max_steps": STEPS, "save_steps": 1, "keep_last": None, "eval_steps": 3}
    chosen = config(folder, model=dropout_model(folder / "model"), strategy=f"{folder}/drawn.py:Drawn", training=training, answers=ANSWERS)
    return chosen, train(chosen, progress=False)


def cut_after(whole, step: int, folder):
    """The run as it is if its process dies after the checkpoint of ``step`` and some more lines of metrics: a config for the copy."""
    chosen, result = whole
    shutil.copytree(result.output_dir, folder)
    for name in ("model", "samples.jsonl", "curves.svg"):
        remove = shutil.rmtree if name == "model" else lambda path: path.unlink()
        remove(folder / name)
    for later in range(step + 1, STEPS + 1):
        shutil.rmtree(folder / "checkpoints" / f"step-{later}")
    return chosen.model_copy(update={"output_dir": str(folder)})


@pytest.mark.parametrize("step", [1, 3, 6, STEPS])
def test_a_resumed_run_ends_as_if_it_had_never_ended(whole, tmp_path, step):
    again = train(cut_after(whole, step, tmp_path / "run"), progress=False, resume=True)
    result = whole[1]
    assert weights_of(again.model_dir) == weights_of(result.model_dir)
    assert measured(again.metrics_path) == measured(result.metrics_path)
    assert again.samples_path.read_text() == result.samples_path.read_text()
    for name in ("steps", "first_loss", "last_loss", "eval_before", "eval_after", "trained_share", "accuracy", "findings"):
        assert getattr(again, name) == getattr(result, name), name
    for left in ("optimizer", "schedule", "random", "data"):
        ends = [
            torch.load(run.output_dir / "checkpoints" / f"step-{STEPS}" / "state.pt", weights_only=True)[left] for run in (again, result)
        ]
        assert same(*ends), left


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("lost", ["optimizer", "schedule", "random", "data"])
def test_each_part_of_the_state_is_needed(whole, tmp_path, monkeypatch, lost):
    """Left out one at a time, the weights at the end are others: the test above would notice."""
    from maskkit.engine import state

    kept, load = {}, torch.load

    def forgetful(*args, **kwargs):
        loaded = load(*args, **kwargs)
        return {**loaded, lost: kept[lost]}

    again = cut_after(whole, 3, tmp_path / "run")
    kept |= load(tmp_path / "run" / "checkpoints" / "step-1" / "state.pt", weights_only=True)
    monkeypatch.setattr(state.torch, "load", forgetful)
    assert weights_of(train(again, progress=False, resume=True).model_dir) != weights_of(whole[1].model_dir)


def test_a_damaged_checkpoint_is_passed_over_with_a_word(whole, tmp_path, caplog):
    again = cut_after(whole, 5, tmp_path / "run")
    state = tmp_path / "run" / "checkpoints" / "step-5" / "state.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    result = train(again, progress=False, resume=True)
    assert "step-5 is damaged (the content of state.pt has changed" in caplog.text
    assert json.loads((result.output_dir / "run.json").read_text())["resumed"][0]["step"] == 4
    assert weights_of(result.model_dir) == weights_of(whole[1].model_dir)


@pytest.mark.parametrize("kept", [0, 200, None])
def test_metrics_that_are_lost_are_no_reason_to_lose_the_run(whole, tmp_path, caplog, kept):
    again = cut_after(whole, 3, tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    if kept is None:
        metrics.unlink()
    else:
        metrics.write_bytes(metrics.read_bytes()[:kept])
    result = train(again, progress=False, resume=True)
    assert "is not as the checkpoint of step 3 knew it" in caplog.text
    assert [line["step"] for line in read_metrics(metrics, "train")] == [4, 5, 6, 7]
    assert result.first_loss == whole[1].first_loss
    assert weights_of(result.model_dir) == weights_of(whole[1].model_dir)


def test_a_run_goes_on_for_longer_than_it_was_meant_to(tmp_path, caplog):
    """The learning rate follows the new schedule at once."""
    short = {"max_steps": 4, "save_steps": 4, "lr_scheduler_type": "constant", "warmup_steps": 0}
    train(config(tmp_path, "a", training=short), progress=False)
    longer = config(tmp_path, "a", training=short | {"max_steps": 6, "learning_rate": 1e-3})
    result = train(longer, progress=False, resume=True)
    assert [line["step"] for line in read_metrics(result.metrics_path, "train")] == [1, 2, 3, 4, 5, 6]
    assert [line["learning_rate"] for line in read_metrics(result.metrics_path, "train")] == [3e-3] * 4 + [1e-3] * 2
    assert "training.max_steps was 4, is 6" in caplog.text
    assert "training.learning_rate was 0.003, is 0.001" in caplog.text
    assert RunConfig.load(result.output_dir / "config.yaml").training.max_steps == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "tiny"}, 'model was ".*model", is "tiny"'),
        ({"strategy": "causal"}, 'strategy was ".*drawn.py:Drawn", is "causal"'),
        ({"max_length": 100}, "max_length was 2048, is 100"),
        ({"loss": {"normalization": "tokens"}}, 'loss.normalization was "weights", is "tokens"'),
        ({"training": {"seed": 1}}, "training.seed was 0, is 1"),
        ({"training": {"gradient_accumulation_steps": 4}}, "training.gradient_accumulation_steps was 2, is 4"),
        ({"training": {"per_device_train_batch_size": 2}}, "training.per_device_train_batch_size was 4, is 2"),
    ],
)
def test_another_config_is_refused_by_name_and_nothing_is_touched(whole, tmp_path, change, said):
    chosen = cut_after(whole, 2, tmp_path / "run").model_dump(mode="json")
    training = chosen["training"] | change.pop("training", {})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(ConfigError, match=f"cannot resume from .*step-2: it was made with another config: {said}; undo"):
        train(RunConfig.from_mapping(chosen | {"training": training} | change), progress=False, resume=True)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


def test_all_differing_keys_are_named_and_other_data_is_one(whole, tmp_path):
    chosen = cut_after(whole, 2, tmp_path / "run").model_dump(mode="json")
    other = {"data": chosen["data"] | {"train": write_rows(tmp_path / "other.jsonl", 30)}, "max_length": 99}
    with pytest.raises(ConfigError, match=r'data\.train was ".*rows.jsonl", is ".*other.jsonl"; max_length was 2048, is 99'):
        train(RunConfig.from_mapping(chosen | other), progress=False, resume=True)


@pytest.mark.parametrize("what", ["data.train: the rows have changed", "the strategy weighs them differently", "but not their tokens"])
def test_what_changes_under_the_same_name_is_noticed(tmp_path, what):
    """A file with other rows, a strategy with other code, a model folder with another template."""
    model, strategy = dropout_model(tmp_path / "model"), tmp_path / "mine.py"
    strategy.write_text(RANDOM_STRATEGY.replace("* (random.random() + np.random.rand() + torch.rand(()).item())", "* 1.0"))
    write_rows(tmp_path / "rows.jsonl")
    short = config(tmp_path, model=model, strategy=f"{strategy}:Drawn", training={"max_steps": 2, "save_steps": 1}, answers={"count": 0})
    shutil.rmtree(train(short, progress=False).model_dir)
    if "rows have" in what:
        write_rows(tmp_path / "rows.jsonl", 23)
    elif "strategy" in what:
        strategy.write_text(strategy.read_text().replace("* 1.0", "* 0.5"))
    else:
        template = tmp_path / "model" / "chat_template.jinja"
        template.write_text(template.read_text() + "\n\nthe end")
    with pytest.raises(ConfigError, match=f"cannot resume from .*{what}"):
        train(short, progress=False, resume=True)


def test_a_template_prints_the_date_on_which_the_run_began(tmp_path):
    model = dropout_model(tmp_path / "model")
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %b %Y %H:%M:%S.%f') }}\n" + template.read_text())
    short = config(tmp_path, model=model, training={"max_steps": 2, "save_steps": 1}, answers={"count": 0})
    whole = train(short, progress=False)
    before = weights_of(whole.model_dir)
    shutil.rmtree(whole.output_dir / "checkpoints" / "step-2")
    shutil.rmtree(whole.model_dir)
    assert weights_of(train(short, progress=False, resume=True).model_dir) == before


def test_a_model_folder_with_another_architecture_is_refused(tmp_path):
    model = dropout_model(tmp_path / "model")
    short = config(tmp_path, model=model, training={"max_steps": 1, "save_steps": 1}, answers={"count": 0})
    shutil.rmtree(train(short, progress=False).model_dir)
    settings = tmp_path / "model" / "config.json"
    settings.write_text(settings.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 1'))
    with pytest.raises(ConfigError, match=r"has a parameter 'model.layers.1.*that the model does not have"):
        train(short, progress=False, resume=True)


def test_nothing_to_resume_from_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no checkpoint in .*: run without --resume"):
        train(config(tmp_path), progress=False, resume=True)
    short = config(tmp_path, training={"max_steps": 1, "save_steps": 0}, answers={"count": 0})
    train(short, progress=False)
    with pytest.raises(ConfigError, match=r"there is no checkpoint in .*overwrite_output_dir=true.*training.save_steps"):
        train(short, progress=False, resume=True)


def test_a_folder_with_checkpoints_says_that_it_can_be_gone_on_with(whole, tmp_path):
    with pytest.raises(ConfigError, match=r"already holds a run \(checkpoints, .*go on with it by --resume"):
        train(cut_after(whole, 2, tmp_path / "run"), progress=False)


def test_overwriting_begins_anew(whole, tmp_path):
    chosen = cut_after(whole, 6, tmp_path / "run")
    short = chosen.model_copy(update={"overwrite_output_dir": True, "training": chosen.training.model_copy(update={"save_steps": 0})})
    result = train(short, progress=False)
    assert not (result.output_dir / "checkpoints").exists()
    assert weights_of(result.model_dir) == weights_of(whole[1].model_dir)


def test_another_version_or_number_of_threads_is_a_warning(whole, tmp_path, monkeypatch, caplog):
    from maskkit.engine import run_record

    now = run_record.versions() | {"torch": "9.9"}
    monkeypatch.setattr(run_record, "versions", lambda: now)
    monkeypatch.setattr(run_record.torch, "get_num_threads", lambda: 77)
    train(cut_after(whole, 6, tmp_path / "run"), progress=False, resume=True)
    assert 'this is "9.9": results may differ in the last digits' in caplog.text
    assert "made with threads " in caplog.text
    assert "this is 77" in caplog.text


def test_every_key_of_a_config_is_either_fixed_or_free():
    """A key added tomorrow to the data path is fixed unless someone decides otherwise."""
    assert is_fixed("tomorrow")
    assert is_fixed("data.reasoning")
    assert not is_fixed("training.max_steps")
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": ("1", "absent"), "b": ("2", "3"), "c": ("absent", "4")}
