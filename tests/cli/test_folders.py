"""Every command that takes data takes a folder or a pattern."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import call, refused


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files, in which the commands run."""
    (tmp_path / "data").mkdir()
    for name in ("b", "a"):
        row = {"messages": [{"role": "user", "content": f"Who is {name}?"}, {"role": "assistant", "content": "One of two."}]}
        (tmp_path / "data" / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "run.yaml").write_text("model: tiny\ndata: {train: data/, eval: null}\noutput_dir: out\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("source", [["run.yaml"], ["data", "--model", "tiny"], ["data/*.jsonl", "--model", "tiny"]])
def test_preview_explain_lint_and_prepare(source: list[str], capsys: pytest.CaptureFixture[str]):
    rows = call(capsys, "preview", *source, "--rows", "9", "--json").json["rows"]
    assert [row["source"] for row in rows] == ["data/a.jsonl:1", "data/b.jsonl:1"]
    assert "data/b.jsonl:1" in call(capsys, "explain", *source, "--row", "1", "--token", "4").out
    assert call(capsys, "lint", *source, "--json").json["rows"] == 2
    assert call(capsys, "prepare", *source, "-o", "prepared", "--workers", "1", "--json").json["totals"]["rows"] == 2


def test_a_config_for_a_folder_or_a_pattern(folder: Path, capsys: pytest.CaptureFixture[str]):
    for source in ("data/", "data/*.jsonl"):
        text = call(capsys, "new", "config", source, "--model", "tiny", "-o", "-").out
        assert f"2 rows in {source}" in text
        assert "output_dir: runs/data" in text


def test_an_empty_folder_is_named_and_what_would_be_read(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "empty").mkdir()
    said = refused(capsys, "preview", "empty", "--model", "tiny")
    assert said.startswith("no data file is in the folder empty, expected names that end with .jsonl, .ndjson, .json, .parquet")
