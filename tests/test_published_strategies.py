"""The published weightings of examples/: each of a few lines, each against numbers worked out by hand, all sound."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskkit
from maskkit import embedded
from maskkit.testing import check_strategy

EXAMPLES = Path(__file__).parent.parent / "examples"
FILE = EXAMPLES / "published_strategies.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("published_strategies", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["published_strategies"] = module
    spec.loader.exec_module(module)
    return module


published = load()
ROW = {
    "messages": [
        {"role": "user", "content": "2 + 3?"},
        {"role": "assistant", "reasoning_content": "2 + 3 = 5", "content": "It is 5."},
    ]
}


def masked(strategy: Any, **columns: Any) -> maskkit.Example:
    return maskkit.Masker(embedded.tiny_tokenizer(), strategy)({**ROW, **columns})


def test_each_is_short():
    classes = [node for node in ast.parse(FILE.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    assert {node.name for node in classes} == {"TokenCleaning", "CutReasoning", "Unlearn", "KeyTokens"}
    assert all(node.end_lineno is not None and node.end_lineno - node.lineno < 15 for node in classes)


@pytest.mark.parametrize("name", ["TokenCleaning", "CutReasoning", "Unlearn", "KeyTokens"])
def test_each_is_sound(name: str):
    check_strategy(getattr(published, name))


def test_token_cleaning_trains_what_the_reference_knows_better():
    length = len(masked("assistant-only"))
    base, reference = [-2.0] * length, [-1.0 if t % 2 else -3.0 for t in range(length)]
    example = masked(published.TokenCleaning, base_log_probs=base, reference_log_probs=reference)
    assert example.loss_weights.tolist() == [float(g and t % 2) for t, g in enumerate(example.tokens.generated)]
    strict = masked(published.TokenCleaning(threshold=1.5), base_log_probs=base, reference_log_probs=reference)
    assert not strict.loss_weights.any()


def test_reasoning_that_was_cut_is_not_closed():
    for cut in (False, True):
        example = masked(published.CutReasoning, reasoning_cut=cut)
        closing = example.tokens.matching("</think>", within="reasoning")
        assert closing.any()
        assert example.loss_weights[closing].any() != cut
        assert example.loss_weights[example.tokens.where(kind=("answer", "stop"))].all()


def test_bad_rows_push_the_other_way():
    example = masked(published.Unlearn, bad=True)
    assert set(example.loss_weights[example.tokens.generated].tolist()) == {np.float32(-0.2)}
    assert set(masked(published.Unlearn).loss_weights.tolist()) == {0.0, 1.0}


def test_unlearning_can_be_faded_in():
    schedule = maskkit.load_strategy({"name": "schedule", "to": f"{FILE}:Unlearn", "end": 50})
    assert schedule.signed


def test_a_run_reads_the_scores_that_a_reference_gave(tmp_path: Path):
    """The reference is the model itself, before training: all importance ratios are 1, and the loss is the plain one."""
    data, scored = tmp_path / "data.jsonl", tmp_path / "scored.jsonl"
    data.write_text("".join(json.dumps({**ROW, "number": n}) + "\n" for n in range(4)))
    subprocess.run([sys.executable, EXAMPLES / "add_reference.py", data, scored], check=True, timeout=300)
    losses = []
    for strategy in ("assistant-only", {"product": ["assistant-only", "importance"]}):
        config = {"model": "tiny", "data": {"train": str(scored), "eval": None}, "strategy": strategy}
        config |= {"training": {"max_steps": 1}, "output_dir": str(tmp_path / f"run-{len(losses)}")}
        losses.append(maskkit.train(maskkit.RunConfig.from_mapping(config), progress=False).first_loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    column = json.loads(scored.read_text().splitlines()[0])["reference_log_probs"]
    assert column["values"][0] is None
    assert max(column["values"][1:]) < 0
