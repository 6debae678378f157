"""``maskkit train``: from a config to a model, and what is said on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import call, refused

ROW = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows and a config for a short run."""
    rows = [{"messages": [{**ROW["messages"][0], "content": f"{n}+1?"}, {**ROW["messages"][1], "content": str(n + 1)}]} for n in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = (
        "model: tiny\ndata: {train: rows.jsonl, eval: 0.2}\noutput_dir: out\nanswers: {count: 1, max_new_tokens: 4}\n"
        "training: {max_steps: 2, per_device_train_batch_size: 2, learning_rate: 1e-3}\n"
    )
    (tmp_path / "run.yaml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_tells_what_it_did(capsys: pytest.CaptureFixture[str], folder: Path):
    done = call(capsys, "train", "run.yaml", "--output-dir", "elsewhere", "--set", "training.max_steps=3")
    assert done.status == 0
    assert "trained 3 steps on 6 rows (0.75 epochs of 8) in " in done.out  # 4 of the 12 are held out
    assert "held-out loss" in done.out
    assert (folder / "elsewhere" / "model" / "config.json").is_file()
    assert not (folder / "out").exists()


def test_json_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "train", "run.yaml", "--json")
    assert done.json["steps"] == 2
    assert done.json["output_dir"] == "out"
    assert done.json["eval_after"]["loss"] > 0
    assert set(done.json["kinds"]) >= {"user", "answer", "stop"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "strategy=asistant-only"], "run.yaml: unknown strategy 'asistant-only'. Did you mean 'assistant-only'?"),
        (["--set", "training.max_stps=1"], "unknown key 'training.max_stps'. Did you mean 'max_steps'?"),
        (["--set", "nonsense"], "expected key=value"),
        (["--set", "data.train=nope.jsonl"], "there is no file nope.jsonl"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(capsys: pytest.CaptureFixture[str], options: list[str], said: str):
    done = call(capsys, "train", "run.yaml", *options)
    assert done.status == 2
    assert said in done.err.splitlines()[-1]
    assert not Path("out").exists()


def test_a_config_that_is_not_there(capsys: pytest.CaptureFixture[str]):
    assert "Did you mean 'run.yaml'?" in refused(capsys, "train", "ran.yaml")
