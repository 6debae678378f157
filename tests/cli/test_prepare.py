"""``maskkit prepare``: what it prints, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import call, refused


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    return "rows.jsonl"


def test_where_no_terminal_is_nothing_but_the_result_is_printed(rows: str, capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "prepare", rows, "--model", "tiny", "-o", "out")
    assert done.err == ""
    assert done.out.splitlines()[0] == "1 rows -> 1 examples in 1 files: out"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--strategy", "asistant-only"), "unknown strategy 'asistant-only'. Did you mean 'assistant-only'?"),
        (("--truncation", "rihgt"), "unknown value of --truncation 'rihgt'. Did you mean 'right'?"),
        (("--history", "served"), "unknown value of --history 'served'. Did you mean 'as-served'?"),
        (("--strategy", "dft"), "'dft' is a loss modifier"),
        (("--reference", "./absent"), "model './absent': there is no such folder"),
    ],
)
def test_a_mistake_leaves_no_empty_folder(rows: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str):
    assert refused(capsys, "prepare", rows, "--model", "tiny", "-o", "out", *arguments).startswith(says)
    assert [path.name for path in Path().iterdir()] == [rows]


def test_what_is_done_before_a_bad_row_stays(rows: str, capsys: pytest.CaptureFixture[str]):
    with Path(rows).open("a") as file:
        file.write("{}\n")
    said = refused(capsys, "prepare", rows, "--model", "tiny", "-o", "out", "--rows-per-file", "1", "--workers", "1")
    assert said.startswith("rows.jsonl:2: found the fields (none)")
    assert [path.name for path in Path("out/data").iterdir()] == ["part-00000.parquet"]


def test_a_folder_that_was_there_stays(rows: str, capsys: pytest.CaptureFixture[str]):
    Path("out").mkdir()
    refused(capsys, "prepare", rows, "--model", "tiny", "-o", "out", "--strategy", "dft")
    assert Path("out").is_dir()
