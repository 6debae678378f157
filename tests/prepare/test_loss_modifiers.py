"""What acts when the loss is computed cannot be stored: it is refused, and what the error advises gives the same loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import maskkit
from maskkit.errors import ConfigError
from maskkit.prepare import Settings, prepare

SCHEDULE = {"name": "schedule", "from": "assistant-only", "to": "causal", "start": 1, "end": 5}
ON_RAW_ROWS = "train on the rows themselves"
SELECTIVE = {"name": "selective", "keep": 0.5}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    replies = ["21", "It is 6, I think.", "I do not know."]
    messages = [[{"role": "user", "content": "Well?"}, {"role": "assistant", "content": reply}] for reply in replies]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in messages))
    return path


@pytest.mark.parametrize(
    ("strategy", "named", "cure"),
    [
        ({"product": ["assistant-only", "dft"]}, "'dft'", "strategy: {product: [from-data, dft]}"),
        (
            {"scale": 0.5, "strategy": {"product": ["assistant-only", {"name": "focal", "gamma": 2.0}, "eaft"]}},
            "'focal' and 'eaft'",
            "strategy: {product: [from-data, {name: focal, gamma: 2.0}, eaft]}",
        ),
        (
            {"product": ["causal", SELECTIVE]},
            "'selective'",
            "--reference MODEL, and train on the folder with  strategy: {product: [from-data, ",
        ),
        (
            {"product": ["causal", {**SELECTIVE, "column": "mine"}]},
            "'selective'",
            f"reads mine of the rows, which files would not hold: {ON_RAW_ROWS}",
        ),
        (SCHEDULE, "'schedule'", ON_RAW_ROWS),
        ({"product": [SCHEDULE, "dft"]}, "'schedule' and 'dft'", ON_RAW_ROWS),
    ],
    ids=str,
)
def test_a_loss_modifier_is_refused_with_a_cure(rows: Path, tmp_path: Path, strategy: Any, named: str, cure: str):
    with pytest.raises(ConfigError) as refused:
        prepare([str(rows)], tmp_path / "out", Settings(model="tiny", strategy=strategy))
    said = str(refused.value)
    assert f"weighs anew by {named} when the loss is computed" in said
    assert cure in said
    assert not list(tmp_path.rglob("*.parquet"))


def losses(train: Path, strategy: Any, run: Path) -> list[float]:
    config = {"model": "tiny", "data": {"train": str(train), "eval": None}, "strategy": strategy, "output_dir": str(run)}
    config["training"] = {"max_steps": 3, "per_device_train_batch_size": 3, "log_kinds_every": 0, "learning_rate": 1e-3}
    maskkit.train(maskkit.RunConfig.from_mapping(config), progress=False)
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["event"] == "train"]


def test_the_cure_trains_what_was_asked_for(rows: Path, tmp_path: Path):
    plain = {"name": "weighted", "stop": 0.25}
    prepare([str(rows)], tmp_path / "out", Settings(model="tiny", strategy=plain))
    cured = losses(tmp_path / "out", {"product": ["from-data", "dft"]}, tmp_path / "cured")
    assert len(cured) == 3
    assert cured == pytest.approx(losses(rows, {"product": [plain, "dft"]}, tmp_path / "raw"), rel=1e-6)
    assert cured != pytest.approx(losses(rows, plain, tmp_path / "plain"), rel=1e-2)
