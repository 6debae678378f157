"""A run that is over is not trained back, and not done again: resuming it goes on from its last step or leaves it as it is."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from maskkit.engine import train
from maskkit.engine.metrics import read_metrics
from maskkit.errors import ConfigError
from tests.engine.runs import config, weights_of

SHORT = {"max_steps": 2, "save_steps": 2, "eval_steps": 1, "lr_scheduler_type": "constant", "warmup_steps": 0, "log_kinds_every": 0}
ANSWERS = {"count": 1, "max_new_tokens": 4}


def of(folder, run="run", **training):
    return config(folder, run, training=SHORT | training, answers=ANSWERS)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A finished run of two steps."""
    folder = tmp_path_factory.mktemp("short")
    return folder, train(of(folder), progress=False)


@pytest.fixture
def resumed(short, tmp_path):
    """Goes on with a copy of it, which is in the folder ``run`` of the test, under options of ``training``."""
    shutil.copytree(short[0] / "run", tmp_path / "run")
    return lambda progress=False, **training: train(of(short[0], str(tmp_path / "run"), **training), progress=progress, resume=True)


def files(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_left_as_it_is_and_its_result_is_read(short, resumed, tmp_path, capsys):
    before, result = files(tmp_path / "run"), short[1]
    again = resumed(progress=True)
    assert files(tmp_path / "run") == before
    assert f"{tmp_path}/run is finished, after 2 steps, and left as it is: to go on, raise training.max_steps" in capsys.readouterr().err
    places = {name: getattr(result, name) for name in ("output_dir", "model_dir", "metrics_path", "curves_path", "report_path")}
    assert replace(again, **places, samples_path=result.samples_path) == result
    assert again.model_dir == tmp_path / "run/model"


@pytest.mark.parametrize("max_steps", [1, 3])
def test_nothing_is_trained_back(resumed, tmp_path, max_steps):
    """Also where the end has no checkpoint: fewer steps than were done are no goal."""
    if max_steps == 3:
        resumed(max_steps=4, save_steps=0)
        shutil.rmtree(tmp_path / "run/checkpoints/step-4")
    before = files(tmp_path / "run")
    done = {1: "the checkpoint has done 2 steps: set it to 2", 3: "the run that is finished there has done 4 steps: set it to 4"}[max_steps]
    with pytest.raises(ConfigError, match=f"step-2: training.max_steps is {max_steps}, and {done} or more, or start a new run"):
        resumed(max_steps=max_steps)
    assert files(tmp_path / "run") == before


def test_a_resumed_run_leaves_a_checkpoint_of_its_last_step(resumed, tmp_path, caplog):
    """Whatever save_steps says now: going on later begins there, and what changed is said."""
    resumed(max_steps=3, save_steps=0, keep_last=1)
    assert "training.save_steps was 2, is 0" in caplog.text
    assert "training.keep_last was 2, is 1" in caplog.text
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-3"]
    caplog.clear()
    resumed(max_steps=4, save_steps=0)
    assert [line["step"] for line in read_metrics(tmp_path / "run/metrics.jsonl", "train")] == [1, 2, 3, 4]
    assert "come to its end" not in caplog.text


def test_going_back_behind_the_end_is_said(resumed, tmp_path, caplog):
    longer = resumed(max_steps=3)
    weights = weights_of(longer.model_dir)
    shutil.rmtree(tmp_path / "run/checkpoints/step-3")
    resumed(max_steps=4)
    assert "come to its end at step 3, and its newest good checkpoint is of step 2" in caplog.text
    assert weights_of(longer.model_dir) != weights


@pytest.mark.parametrize("lost", ["model", "end", "half a line"])
def test_a_run_that_was_killed_before_its_end_is_ended(short, resumed, tmp_path, lost):
    metrics = tmp_path / "run/metrics.jsonl"
    if lost == "model":
        shutil.rmtree(tmp_path / "run/model")
    else:
        last = metrics.read_bytes().splitlines(keepends=True)[-1]
        metrics.write_bytes(metrics.read_bytes()[: -len(last) if lost == "end" else -5])
    again = resumed()
    assert weights_of(again.model_dir) == weights_of(short[1].model_dir)
    assert read_metrics(metrics)[-1]["event"] == "end"


def test_a_run_that_ended_early_is_over_until_it_may_wait_longer(tmp_path, capsys):
    rising = {"learning_rate": 1.0, "early_stopping_patience": 1, "max_steps": 5}
    ended = train(of(tmp_path, **rising), progress=False)
    assert ended.steps < 5
    before = files(tmp_path / "run")
    assert train(of(tmp_path, **rising | {"max_steps": 6}), resume=True) == ended
    assert "to go on, raise training.early_stopping_patience" in capsys.readouterr().err
    assert files(tmp_path / "run") == before
    assert train(of(tmp_path, **rising | {"early_stopping_patience": 9}), progress=False, resume=True).steps == 5
