"""``maskkit preview --html``, and several strategies side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import call, refused

ROWS = [
    {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "reasoning_content": "Two twos.", "content": answer}]}
    for answer in ("4", "Four.")
]
TWO = ("preview", "rows.jsonl", "-m", "tiny", "-s", "assistant-only", "-s", "{name: weighted, reasoning: 0.3}")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_is_written(capsys: pytest.CaptureFixture[str], folder: Path):
    assert call(capsys, *TWO, "--rows", "2", "--html", "out/page.html").out == "wrote out/page.html: 2 rows\n"
    page = (folder / "out/page.html").read_text(encoding="utf-8")
    assert "Preview of rows.jsonl" in page
    assert page.count('class="strategy"') == 4
    assert 'id="differences" checked' not in page
    call(capsys, *TWO, "--row", "1", "--differences", "--html", "page.html")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert 'id="differences" checked' in page
    assert "rows.jsonl:2" in page
    assert "rows.jsonl:1" not in page


def test_strategies_stand_side_by_side(capsys: pytest.CaptureFixture[str]):
    lines = call(capsys, *TWO).out.splitlines()
    assert lines[2:6] == ["rows.jsonl:1", "A  assistant-only", "B  {name: weighted, reasoning: 0.3}", ""]
    assert lines[6].split() == ["kind", "A", "B", "tokens", "text"]
    runs = [line.split() for line in lines[7:] if line.startswith("≠ reasoning")]
    assert [run[1:4] for run in runs] == [["reasoning", "1", "0.3"]]
    assert any(line.startswith("  answer ") for line in lines)
    assert any(line.startswith("≠ ") and line.endswith("tokens weigh differently") for line in lines)
    assert lines[-1].split()[0] == "all"


def test_only_the_differences(capsys: pytest.CaptureFixture[str]):
    lines = call(capsys, *TWO, "--differences").out.splitlines()
    listed = lines[7 : lines.index("", 7)]
    assert all(line.startswith("≠ ") for line in listed)
    assert len(listed) == 2
    assert "give --strategy at least twice" in refused(capsys, "preview", "rows.jsonl", "-m", "tiny", "--differences")


def test_a_page_is_no_json(capsys: pytest.CaptureFixture[str]):
    assert "exclude each other" in refused(capsys, *TWO, "--html", "a.html", "--json")
