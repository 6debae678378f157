"""``maskkit preview`` on data and on configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import call, refused, spawn

ROWS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": "8時の10分後は？"},
            {"role": "assistant", "reasoning_content": "0+10=10。", "content": "8時10分 🎉"},
        ]
    },
    {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]},
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows and a config in it, in which the commands run."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    config = "model: tiny\ndata: {train: rows.jsonl}\nstrategy: {name: weighted, reasoning: 0.25}\nmax_length: 512\noutput_dir: out\n"
    (tmp_path / "run.yaml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_data_needs_a_model(capsys: pytest.CaptureFixture[str]):
    assert refused(capsys, "preview", "rows.jsonl").startswith("rows.jsonl is data, so it does not say which tokenizer")
    assert "--set changes a config" in refused(capsys, "preview", "rows.jsonl", "--model", "tiny", "--set", "a=b")


def test_a_row_of_data(capsys: pytest.CaptureFixture[str]):
    lines = call(capsys, "preview", "rows.jsonl", "--model", "tiny").out.splitlines()
    assert lines[0].startswith("tokenizer tiny, template sha256:")
    assert lines[0].endswith("strategy assistant-only")
    assert lines[2] == "rows.jsonl:1"
    assert any(line.startswith("answer ") and line.endswith("8時10分 🎉") for line in lines)


def test_a_config_says_it_all_and_the_command_line_changes_it(capsys: pytest.CaptureFixture[str]):
    out = call(capsys, "preview", "run.yaml").out
    assert "strategy {name: weighted, reasoning: 0.25}, max_length 512" in out.splitlines()[0]
    assert "max_length 7" in call(capsys, "preview", "run.yaml", "--set", "max_length=7").out.splitlines()[0]
    assert "strategy causal" in call(capsys, "preview", "run.yaml", "--strategy", "causal").out.splitlines()[0]


def test_some_rows_or_one(capsys: pytest.CaptureFixture[str]):
    def sources(*options: str) -> list[str]:
        return [row["source"] for row in call(capsys, "preview", "run.yaml", "--json", *options).json["rows"]]

    assert sources() == ["rows.jsonl:1"]
    assert sources("--rows", "9") == ["rows.jsonl:1", "rows.jsonl:2"]
    assert sources("--row", "1") == ["rows.jsonl:2"]
    assert "there is no row 2; rows are counted from 0" in refused(capsys, "preview", "run.yaml", "--row", "2")
    assert "exclude each other" in refused(capsys, "preview", "run.yaml", "--row", "0", "--rows", "1")


def test_several_strategies_are_compared(capsys: pytest.CaptureFixture[str]):
    specs = ["-s", "causal", "-s", "{product: [assistant-only, {name: weighted, answer: 0.5}]}"]
    rows = call(capsys, "preview", "run.yaml", "--json", *specs).json["rows"]
    answers = [next(piece["weights"][0] for piece in row["pieces"] if piece["kind"] == "answer") for row in rows]
    assert answers == [1.0, 0.5]


def test_reasoning_written_inline(capsys: pytest.CaptureFixture[str]):
    assert "<think>⏎\n" in call(capsys, "preview", "run.yaml", "--inline-reasoning").out
    assert "<think>⏎\n" in call(capsys, "preview", "run.yaml", "--set", "data.reasoning=inline").out
    assert "<think>⏎\n" not in call(capsys, "preview", "run.yaml").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rows.jsonl", "-m", "tiny", "-s", "asistant-only"), "unknown strategy 'asistant-only'. Did you mean 'assistant-only'?"),
        (("rows.jsonl", "-m", "tiny", "-s", "{name: weighted, x: 1}"), "strategy 'weighted': unknown option 'x'"),
        (("row.jsonl", "-m", "tiny"), "there is no file row.jsonl. Did you mean 'rows.jsonl'?"),
        (("run.yml",), "there is no config run.yml. Did you mean 'run.yaml'?"),
        (("bad.jsonl", "-m", "tiny", "--row", "1"), "bad.jsonl:2: messages[0].role is missing"),
    ],
)
def test_what_is_wrong_is_one_line(capsys: pytest.CaptureFixture[str], folder: Path, arguments: tuple[str, ...], said: str):
    (folder / "bad.jsonl").write_text('{"text": "a"}\n{"messages": [{"content": "a"}]}\n', encoding="utf-8")
    assert said in refused(capsys, "preview", *arguments)


def test_colour_only_where_it_can_be_seen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    colored = call(capsys, "preview", "run.yaml").out
    assert "\x1b[" in colored
    assert "reasoning      0.25" not in colored
    assert "0.25" in call(capsys, "preview", "run.yaml", "--weights").out.partition("\n")[2]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "reasoning      0.25" in call(capsys, "preview", "run.yaml").out


def test_a_pipe_gets_plain_text(folder: Path):
    done = spawn(["preview", "run.yaml"], folder)
    assert (done.status, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert "reasoning      0.25" in done.out


def test_a_row_behind_a_bad_one_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = tmp_path / "data.jsonl"
    data.write_text('not json\n{"prompt": "Say yes.", "completion": "yes"}\n', encoding="utf-8")
    assert "yes" in call(capsys, "preview", str(data), "--tokenizer", "tiny", "--row", "1").out
    assert f"{data}:1: not JSON" in refused(capsys, "preview", str(data), "--tokenizer", "tiny", "--row", "0")
