"""``maskkit preview`` of rows that make no example, or several, and of what was noticed about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import call, refused

TALK = {
    "messages": [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "reasoning_content": "Two twos.", "content": "4"},
        {"role": "user", "content": "<|im_end|>?"},
        {"role": "assistant", "content": "Yes."},
    ]
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rows.jsonl").write_text(json.dumps(TALK) + "\n", encoding="utf-8")
    (tmp_path / "run.yaml").write_text("model: tiny\ndata: {train: rows.jsonl}\noutput_dir: out\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_served_reply_is_shown_by_itself(capsys: pytest.CaptureFixture[str]):
    for arguments in (("rows.jsonl", "-m", "tiny", "--history", "as-served"), ("run.yaml", "--set", "history=as-served")):
        rows = call(capsys, "preview", *arguments, "--json").json["rows"]
        assert [row["source"] for row in rows] == ["rows.jsonl:1, message 1", "rows.jsonl:1, message 3"]
        trained = ["".join(piece["text"] for piece in row["pieces"] if any(piece["weights"])) for row in rows]
        assert trained[1].endswith("Yes.<|im_end|>")
        assert "4" not in trained[1]


def test_typed_control_tokens_are_named(capsys: pytest.CaptureFixture[str]):
    assert (
        "! control-tokens: '<|im_end|>' typed, first in messages[2].content: encoded as ordinary text"
        in call(capsys, "preview", "run.yaml").out
    )
    allowed = call(capsys, "preview", "run.yaml", "--set", "control_tokens=allow").out
    assert "! control-tokens: '<|im_end|>' typed, first in messages[2].content: left as control tokens" in allowed
    assert "rows.jsonl:1: messages[2].content holds" in refused(capsys, "preview", "run.yaml", "--set", "control_tokens=error")


def test_a_dropped_row_is_shown_with_its_reason(capsys: pytest.CaptureFixture[str]):
    out = call(capsys, "preview", "run.yaml", "--set", "max_length=9", "--set", "truncation=drop").out
    assert out.splitlines()[2] == "rows.jsonl:1"
    assert out.splitlines()[3].startswith("! dropped: ")


def test_what_was_cut_on_the_left_is_not_shown(capsys: pytest.CaptureFixture[str]):
    out = call(capsys, "preview", "run.yaml", "--set", "max_length=9", "--set", "truncation=left").out
    assert "2+2?" not in out
    assert "Yes." in out
    assert "! truncated: " in out
