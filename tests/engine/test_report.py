"""report.html says what a run was and did, whether it came to its end or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import maskkit
from maskkit import embedded
from maskkit.engine.report import report_page
from maskkit.errors import TrainingError
from tests.inspect.pages import HOSTILE


def config(folder: Path, **training: object) -> maskkit.RunConfig:
    rows = [row for row, _ in zip(embedded.quickstart_rows(), range(40), strict=False)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"max_steps": 2, "per_device_train_batch_size": 2, "eval_steps": 0, **training}
    return maskkit.RunConfig.from_mapping(
        {
            "model": "tiny",
            "data": {"train": str(folder / "rows.jsonl"), "eval": 0.1},
            "strategy": {"name": "weighted", "reasoning": 0.5},
            "max_length": 60,
            "training": given,
            "answers": {"count": 2, "max_new_tokens": 3},
            "output_dir": str(folder / "first"),
        }
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    return maskkit.train(config(tmp_path_factory.mktemp("report")), progress=False)


def test_it_shows_the_run(result):
    page = result.report_path.read_text(encoding="utf-8")
    for text in ("The run came to its end.", "2 of 2", "held-out perplexity", "tool_result", "did not end by itself", "max_length: 60"):
        assert text in page
    assert f"{result.findings['truncated']:,} rows: MK" in page
    assert maskkit.__version__ in page
    assert page.count("<svg") == 2


def test_kinds_have_the_totals_of_the_training_rows(result):
    start = json.loads(result.metrics_path.read_text().splitlines()[0])
    kinds = start["train_kinds"]
    assert sum(tokens for tokens, _, _ in kinds.values()) == start["train_tokens"]
    tokens, trained, weight = kinds["reasoning"]
    assert (tokens, weight) == (trained, trained * 0.5)
    assert kinds["user"][1:] == [0, 0.0]
    assert f'<td class="number">{weight:,.6g}</td>' in result.report_path.read_text(encoding="utf-8")


def test_a_run_that_fails_says_what_stopped_it(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"finite") as raised:
        maskkit.train(config(tmp_path, max_grad_norm=None, learning_rate=1e30, max_steps=6), progress=False)
    page = (tmp_path / "first/report.html").read_text(encoding="utf-8")
    assert "The run failed." in page
    assert str(raised.value)[:40] in page


def test_nothing_in_a_run_becomes_code(result, tmp_path: Path):
    for file in result.output_dir.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    texts = dict.fromkeys(("source", "prompt", "completion", "answer", "reference"), HOSTILE)
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps({**line, **texts, "correct": False}) + "\n" for line in lines))
    with (tmp_path / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"event": "spike", "step": 2, "loss": 9.0, "usual": 1.0, "rows": HOSTILE}) + "\n")
        metrics.write(json.dumps({"event": "failed", "step": 2, "error": HOSTILE}) + "\n")
    page = report_page(tmp_path)
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "{{ 7*7 }}" in page
