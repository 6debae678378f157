"""The best model is kept, and a run that does not get better ends."""

from __future__ import annotations

import shutil

import pytest

from maskkit import ConfigError, RunConfig
from maskkit.engine import train
from maskkit.engine.best import Best
from maskkit.engine.evaluate import Evaluation
from maskkit.engine.metrics import read_metrics
from tests.engine.runs import config, measured, weights_of


def test_the_lowest_counts_and_equal_is_not_lower():
    best = Best("loss", patience=2)
    assert [best.update(Evaluation(loss), step) for step, loss in enumerate([3.0, 2.0, 2.5, 1.0, 1.0])] == [True, True, False, True, False]
    assert (best.value, best.step, best.since, best.exhausted) == (1.0, 3, 1, False)
    best.update(Evaluation(9.0), 5)
    assert best.exhausted


def test_a_kind_has_a_loss_of_its_own():
    best = Best("answer")
    best.update(Evaluation(1.0, {"answer": 5.0}), 1)
    assert best.update(Evaluation(2.0, {"answer": 4.0}), 2)
    with pytest.raises(ConfigError, match="save_best is 'answer', but no held-out token is of that kind; found: text"):
        best.update(Evaluation(1.0, {"text": 1.0}), 3)


# far too large: the loss falls, then rises
WILD = {"max_steps": 30, "eval_steps": 1, "learning_rate": 0.03, "warmup_steps": 0, "lr_scheduler_type": "constant", "save_best": "loss"}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    chosen = config(tmp_path_factory.mktemp("run"), training=WILD | {"early_stopping_patience": 3, "save_steps": 4}, answers={"count": 2})
    return chosen, train(chosen, progress=False)


def test_a_run_that_gets_no_better_ends_and_the_best_model_is_the_best(stopped, tmp_path):
    chosen, result = stopped
    losses = {line["step"]: line["loss"] for line in read_metrics(result.metrics_path, "eval")}
    assert result.steps == max(losses) == result.best_step + 3 < 30
    assert result.best_step == min(losses, key=losses.get) > 0
    values = chosen.model_dump(mode="json") | {
        "model": str(result.output_dir / "best"),
        "output_dir": str(tmp_path),
        "answers": {"count": 0},
    }
    still = {"max_steps": 1, "learning_rate": 1e-12, "eval_steps": 0, "save_best": None, "early_stopping_patience": None}
    again = train(RunConfig.from_mapping(values | {"training": values["training"] | still}), progress=False)
    assert again.eval_before.loss == pytest.approx(losses[result.best_step], rel=1e-5)


def test_it_ends_at_the_same_step_when_resumed(stopped):
    chosen, result = stopped
    folder, before, weights = result.output_dir / "checkpoints", measured(result.metrics_path), weights_of(result.model_dir)
    newest = max(folder.iterdir(), key=lambda path: int(path.name[5:]))
    assert newest.name == f"step-{result.steps}"
    (newest / "state.pt").unlink()
    shutil.rmtree(result.model_dir)
    again = train(chosen, progress=False, resume=True)
    assert (again.steps, again.best_step) == (result.steps, result.best_step)
    assert measured(again.metrics_path) == before
    assert weights_of(again.model_dir) == weights


@pytest.mark.parametrize(
    ("data", "training", "said"),
    [
        ({"eval": None}, {"save_best": "loss"}, "training.save_best needs evaluations on the way, but data.eval holds no rows out"),
        ({}, {"early_stopping_patience": 2, "eval_steps": 0}, "early_stopping_patience needs evaluations .* training.eval_steps is 0"),
    ],
)
def test_without_evaluations_there_is_no_best(data, training, said):
    values = {"model": "tiny", "data": {"train": "a.jsonl"} | data, "training": training, "output_dir": "out"}
    with pytest.raises(ConfigError, match=said):
        RunConfig.from_mapping(values)
