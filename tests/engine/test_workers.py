"""A run whose rows are made and weighed in worker processes is the run without them."""

from __future__ import annotations

import json
import shutil

import pytest

from maskkit.engine import train
from maskkit.errors import StrategyError
from tests.engine.runs import config, dropout_model, measured, weights_of

TRAINING = {"max_steps": 5, "save_steps": 2, "keep_last": None, "eval_steps": 2, "packing": True, "per_device_train_batch_size": 1}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A run without workers."""
    folder = tmp_path_factory.mktemp("here")
    chosen = config(folder, model=dropout_model(folder / "model"), max_length=200, training=TRAINING, answers={"count": 0})
    return chosen, train(chosen, progress=False)


def with_workers(here, folder, count):
    chosen = here[0]
    return chosen.model_copy(update={"data": chosen.data.model_copy(update={"workers": count}), "output_dir": str(folder)})


def test_any_number_of_workers_gives_the_same_run_and_it_can_be_gone_on_with_by_another(here, tmp_path):
    result = train(with_workers(here, tmp_path / "run", 2), progress=False)
    assert measured(result.metrics_path) == measured(here[1].metrics_path)
    assert weights_of(result.model_dir) == weights_of(here[1].model_dir)
    records = [json.loads((run.output_dir / "run.json").read_text()) for run in (result, here[1])]
    assert records[0]["train"] == records[1]["train"]
    for step in (4, 5):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / f"step-{step}")
    shutil.rmtree(result.model_dir)
    again = train(with_workers(here, tmp_path / "run", 1), progress=False, resume=True)
    assert measured(again.metrics_path) == measured(here[1].metrics_path)
    assert weights_of(again.model_dir) == weights_of(here[1].model_dir)


def test_a_strategy_that_fails_in_a_worker_ends_the_run_with_its_row(here, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import maskkit\n\nclass Mine(maskkit.Strategy):\n    name = 'mine'\n\n"
        "    def weights(self, tokens):\n        return tokens.ids * (float('nan') if '7 + 1' in tokens.text else 1.0)\n"
    )
    chosen = with_workers(here, tmp_path / "run", 1).model_copy(update={"strategy": f"{tmp_path}/mine.py:Mine"})
    with pytest.raises(StrategyError, match=r"rows\.jsonl:8"):
        train(chosen, progress=False)
