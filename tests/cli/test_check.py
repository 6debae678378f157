"""``maskkit check template``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import call, refused
from tests.real import trl_template

PLAIN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with templates in it, in which the commands run."""
    (tmp_path / "plain.jinja").write_text(PLAIN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_with_nothing_to_find(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "check", "template", "plain.jinja")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("template plain.jinja (sha256:")
    assert "tokenizer bytes" in lines[0]
    assert ["attributable", "yes"] in [line.split() for line in lines]
    assert lines[-1] == "nothing found"


def test_findings_are_the_exit_status(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "qwen3.jinja").write_text(trl_template("qwen3"), encoding="utf-8")
    done = call(capsys, "check", "template", "qwen3.jinja")
    assert done.status == 1
    assert "1 finding:\n  history-rewritten" in done.out
    assert "and 5 more)" in " ".join(done.out.split())


def test_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "check", "template", "tiny")
    assert done.status in (0, 1)
    assert done.out.startswith("template tiny (sha256:")
    assert "tokenizer tiny" in done.out.splitlines()[0]


def test_a_file_with_a_models_tokenizer(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "check", "template", "plain.jinja", "--model", "tiny")
    assert done.out.splitlines()[0].endswith("tokenizer tiny")


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "check", "template", "plain.jinja", "--json")
    assert done.status == 0
    assert done.json["source"] == "plain.jinja"
    assert done.json["attributable"] is True
    assert done.json["generation_prompts"] == [{"arguments": "", "text": "<|im_start|>assistant\n", "prefilled": ""}]
    assert {"conversation": "plain", "outcome": "exact", "reason": "", "findings": []} in done.json["cells"]


def test_what_is_neither_file_nor_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.jinja" in refused(capsys, "check", "template", "nowhere.jinja")
    assert "--model is for template files" in refused(capsys, "check", "template", "tiny", "--model", "tiny")


def test_a_file_that_is_no_text(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "bytes.jinja").write_bytes(b"\xff\xfe")
    assert refused(capsys, "check", "template", "bytes.jinja").startswith("bytes.jinja: not UTF-8 text")


def test_a_template_that_is_no_template(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "broken.jinja").write_text("{% for m in %}", encoding="utf-8")
    done = call(capsys, "check", "template", "broken.jinja")
    assert done.status == 1
    assert done.out.endswith("refused  the template refuses the plainest conversation (plain)\n")
    assert "plain refused Expected" in " ".join(done.out.split())
