"""A run remembers which distribution gave it its strategies, and says when it goes on with another."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

import maskkit
from maskkit.engine.resume import Origin

PARTS = {"count": 1, "rows": "r", "tokens": "t", "weights": "w"}


def test_run_json_names_the_strategies(tmp_path):
    values = {
        "model": "tiny",
        "data": {"train": "quickstart", "eval": None},
        "strategy": {"name": "sequence-normalised", "strategy": {"product": ["assistant-only", "weighted"]}},
        "training": {"max_steps": 1, "per_device_train_batch_size": 1, "log_kinds_every": 0},
        "output_dir": str(tmp_path / "run"),
    }
    maskkit.train(maskkit.RunConfig.from_mapping(values), progress=False)
    ours = f"maskkit {maskkit.__version__}"
    found = json.loads((tmp_path / "run" / "run.json").read_text())["strategies"]
    assert found == {"assistant-only": ours, "sequence-normalised": ours, "weighted": ours}


def test_another_version_of_a_strategy_is_a_warning(tmp_path, caplog: pytest.LogCaptureFixture):
    config = {"data": {"streaming": False}}
    then = {"config": config, "train": PARTS, "held_out": PARTS, "versions": {}, "threads": 1, "files": []}
    then |= {"strategies": {"mine": "mask-mine 1.0", "causal": "maskkit 0.1.0"}}
    (tmp_path / "run.json").write_text(json.dumps(then))
    origin = Origin(SimpleNamespace(path=tmp_path, step=3))
    now = {**then, "strategies": {"mine": "mask-mine 2.0", "causal": "maskkit 0.1.0"}}
    [resumed] = origin.resumed(now)
    assert resumed["strategies"]["mine"] == "mask-mine 2.0"
    assert 'strategy mine of "mask-mine 1.0", this is "mask-mine 2.0"' in caplog.text
    assert "causal" not in caplog.text
