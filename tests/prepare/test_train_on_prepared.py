"""What was prepared with a reference is trained on: its weights and its column of scores are found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import maskkit
from maskkit.prepare import Settings, prepare


def first_loss(train: Path, strategy: Any, run: Path) -> float:
    config = {"model": "tiny", "data": {"train": str(train), "eval": None}, "strategy": strategy, "output_dir": str(run)}
    config["training"] = {"max_steps": 1, "per_device_train_batch_size": 3, "log_kinds_every": 0}
    return maskkit.train(maskkit.RunConfig.from_mapping(config), progress=False).first_loss


def test_a_loss_modifier_reads_the_scores_of_the_reference(tmp_path: Path):
    """The reference is the model itself, so before the first update all ratios of `importance` are 1."""
    rows = tmp_path / "rows.jsonl"
    replies = ["21", "It is 6, I think.", "I do not know."]
    messages = [[{"role": "user", "content": "Well?"}, {"role": "assistant", "content": reply}] for reply in replies]
    rows.write_text("".join(json.dumps({"messages": row}) + "\n" for row in messages))
    strategy = {"name": "weighted", "stop": 0.25}
    prepare([str(rows)], tmp_path / "out", Settings(model="tiny", strategy=strategy, reference="tiny"))
    [file] = (tmp_path / "out" / "data").glob("*.parquet")
    plain = first_loss(rows, strategy, tmp_path / "plain")
    assert first_loss(file, "from-data", tmp_path / "prepared") == pytest.approx(plain, rel=1e-6)
    with_ratios = first_loss(file, {"product": ["from-data", {"name": "importance", "per": "token"}]}, tmp_path / "ratios")
    assert with_ratios == pytest.approx(plain, rel=1e-4)
    raised = {"name": "importance", "per": "token", "min": 2.0}
    assert first_loss(file, {"product": ["from-data", raised]}, tmp_path / "raised") == pytest.approx(2 * plain, rel=1e-4)
