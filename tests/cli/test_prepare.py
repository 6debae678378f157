"""``maskkit prepare``: what it prints, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import call


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
