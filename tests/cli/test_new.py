"""``maskkit new config`` looks at the rows and writes a config that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskkit import RunConfig
from tests.cli.commands import call, refused

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}
THINKING: dict[str, Any] = {
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "reasoning_content": "because", "content": "a"}],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def suggested(capsys: pytest.CaptureFixture[str], *rows: dict[str, Any]) -> RunConfig:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Path("config.yaml").unlink(missing_ok=True)
    assert call(capsys, "new", "config", "rows.jsonl", "--model", "tiny").status == 0
    return RunConfig.load("config.yaml")


def test_the_strategy_fits_the_form_of_the_rows(capsys: pytest.CaptureFixture[str]):
    assert suggested(capsys, CHAT).strategy == "assistant-only"
    assert suggested(capsys, CHAT, THINKING).strategy == {"name": "weighted", "reasoning": 0.3, "answer": 1.0}
    assert suggested(capsys, {"text": "a"}).strategy == "causal"
    assert suggested(capsys, {"prompt": "a", "completion": "b"}).strategy == "assistant-only"


def test_the_comments_say_what_is_in_the_data(capsys: pytest.CaptureFixture[str]):
    suggested(capsys, CHAT, CHAT, THINKING)
    first = Path("config.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# 3 rows in rows.jsonl: 3 messages; roles user, assistant; 1 with reasoning."


def test_the_length_cuts_no_row_and_the_steps_make_three_epochs(capsys: pytest.CaptureFixture[str]):
    long = {"messages": [{"role": "user", "content": "word " * 200}, {"role": "assistant", "content": "4"}]}
    config = suggested(capsys, *[CHAT] * 399, long)
    assert config.max_length % 64 == 0
    assert "no row looked at is cut" in Path("config.yaml").read_text(encoding="utf-8")
    rows = config.training.max_steps * config.training.per_device_train_batch_size * config.training.gradient_accumulation_steps
    assert 3 * 380 <= rows < 3 * 380 + 32
    assert 0 < config.training.save_steps <= config.training.max_steps / 5  # a long run that dies is not lost


def test_reasoning_goes_inline_where_the_template_has_no_place_for_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    from maskkit import embedded

    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    assert suggested(capsys, THINKING).data.reasoning == "field"
    monkeypatch.setattr("maskkit.embedded.tiny_tokenizer", lambda: tokenizer)
    assert suggested(capsys, THINKING).data.reasoning == "inline"


def test_a_name_that_yaml_would_read_otherwise_is_quoted(capsys: pytest.CaptureFixture[str]):
    Path("no: 1 #.jsonl").write_text(json.dumps(CHAT), encoding="utf-8")
    assert call(capsys, "new", "config", "no: 1 #.jsonl", "-m", "tiny").status == 0
    assert RunConfig.load("config.yaml").data.train == "no: 1 #.jsonl"


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str]):
    suggested(capsys, CHAT)
    before = Path("config.yaml").read_text(encoding="utf-8")
    assert "config.yaml already exists" in refused(capsys, "new", "config", "rows.jsonl", "-m", "tiny")
    assert Path("config.yaml").read_text(encoding="utf-8") == before
    assert call(capsys, "new", "config", "rows.jsonl", "-m", "tiny", "-o", "-").out == before


def test_rows_for_which_no_config_can_be_suggested(capsys: pytest.CaptureFixture[str]):
    Path("none.jsonl").write_text("\n", encoding="utf-8")
    assert "no row is in it" in refused(capsys, "new", "config", "none.jsonl", "-m", "tiny")
    Path("mixed.jsonl").write_text(json.dumps(CHAT) + '\n{"text": "a"}\n', encoding="utf-8")
    assert "1 messages, 1 text" in refused(capsys, "new", "config", "mixed.jsonl", "-m", "tiny")
    assert not Path("config.yaml").exists()
