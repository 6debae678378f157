"""``maskkit lint``: exit statuses, formats, and the codes that a config leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import call, refused
from tests.inspect.lint.rows import Masked, assistant, row, user


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with clean rows, marked rows, a config and a file of labels that train the prompt."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean.jsonl").write_text(json.dumps(row()) + "\n", encoding="utf-8")
    (tmp_path / "marked.jsonl").write_text(json.dumps(row()) + "\n" + json.dumps(row(user(), assistant(weight=0.5))) + "\n", "utf-8")
    (tmp_path / "run.yaml").write_text("model: tiny\ndata: {train: marked.jsonl, eval: clean.jsonl}\noutput_dir: out\n", "utf-8")
    made = Masked()
    ids, labels = made.train(made.place("12"))
    given = {"input_ids": ids.tolist(), "labels": labels.tolist()}
    (tmp_path / "labels.jsonl").write_text(json.dumps(given) + "\n", encoding="utf-8")
    return tmp_path


def test_clean_rows_are_status_0_and_an_error_is_status_1(files: Path, capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "lint", "clean.jsonl", "--tokenizer", "tiny")
    assert done.status == 0
    assert done.out.startswith("tokenizer tiny, template sha256:")
    assert "nothing found in 1 row of" in done.out
    done = call(capsys, "lint", "marked.jsonl", "--tokenizer", "tiny")
    assert done.status == 1
    assert "error MK501 data-weights-ignored   1 of 2 rows" in done.out
    assert "marked.jsonl:2: " in done.out
    assert call(capsys, "lint", "marked.jsonl", "--tokenizer", "tiny", "--strategy", "from-data").status == 0
    assert call(capsys, "lint", "marked.jsonl", "--tokenizer", "tiny", "--ignore", "MK501").status == 0


def test_a_config_brings_its_own_rules_and_its_held_out_rows(files: Path, capsys: pytest.CaptureFixture[str]):
    found = call(capsys, "lint", "run.yaml", "--json").json
    assert [finding["name"] for finding in found["findings"]] == ["data-weights-ignored", "held-out-overlap"]
    assert found["strategy"] == "assistant-only"
    rules = ["--set", "lint={ignore: [MK501], error: [held-out-overlap]}"]
    done = call(capsys, "lint", "run.yaml", "--json", *rules)
    assert (done.status, [finding["severity"] for finding in done.json["findings"]]) == (1, ["error"])


def test_labels_of_another_trainer(files: Path, capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "lint", "--format", "labels", "labels.jsonl", "--tokenizer", "tiny", "--json")
    assert done.status == 1
    (finding,) = done.json["findings"]
    assert (finding["code"], finding["places"][0]["source"]) == ("MK102", "labels.jsonl:1")
    assert "strategy" not in done.json


def test_output_for_machines(files: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("lint", "marked.jsonl", "--tokenizer", "tiny", "--output")
    assert call(capsys, *arguments, "sarif").json["runs"][0]["results"][0]["ruleId"] == "MK501"
    (line,) = call(capsys, *arguments, "github").out.splitlines()
    assert line.startswith("::error file=marked.jsonl,line=2,title=MK501 data-weights-ignored::")


def test_a_run_that_lint_objects_to_does_not_begin(files: Path, capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "train", "run.yaml", "--json")
    assert (done.status, done.out) == (1, "")
    assert "MK501 data-weights-ignored" in done.err.splitlines()[-1]
    assert not (files / "out").exists()


def test_wrong_use_is_said_in_one_line(files: Path, capsys: pytest.CaptureFixture[str]):
    assert "lint needs a config" in refused(capsys, "lint")
    assert "unknown lint code 'MK999'" in refused(capsys, "lint", "--explain", "MK999")
    assert "Did you mean 'labels'?" in refused(capsys, "lint", "clean.jsonl", "--tokenizer", "tiny", "--format", "label")
    assert "unknown lint code 'nonsense'" in refused(capsys, "lint", "clean.jsonl", "--tokenizer", "tiny", "--ignore", "nonsense")
    assert "expected input_ids" in refused(capsys, "lint", "clean.jsonl", "--tokenizer", "tiny", "--format", "labels")


def test_a_code_is_explained(capsys: pytest.CaptureFixture[str]):
    assert call(capsys, "lint", "--explain", "mk102").out.startswith("MK102 prompt-trained (error; ")
    assert call(capsys, "lint", "--explain", "all").out.count("\nfix: ") > 40


def test_rows_that_cannot_be_read_are_findings_all_at_once(files: Path, capsys: pytest.CaptureFixture[str]):
    bad = ["not json", '{"foo": 1}', '{"messages": []}', '{"messages": [{"role": "user", "content": 5}]}']
    (files / "bad.jsonl").write_text("\n".join([json.dumps(row()), *bad, json.dumps(row(user("else")))]) + "\n", encoding="utf-8")
    done = call(capsys, "lint", "bad.jsonl", "--tokenizer", "tiny", "--json", "--first", "9")
    found = next(finding for finding in done.json["findings"] if finding["name"] == "row-refused")
    assert (done.status, done.json["rows"], found["rows"]) == (1, 6, 4)
    assert [place["source"] for place in found["places"]] == [f"bad.jsonl:{line}" for line in (2, 3, 4, 5)]
    assert "… and 1 more" in call(capsys, "lint", "bad.jsonl", "--tokenizer", "tiny").out
    (files / "mixed.jsonl").write_text('{"input_ids": [1, 2], "labels": [1]}\n{\n' + (files / "labels.jsonl").read_text(), encoding="utf-8")
    done = call(capsys, "lint", "mixed.jsonl", "--format", "labels", "--tokenizer", "tiny", "--output", "github")
    assert "file=mixed.jsonl,line=1,title=MK409 row-refused::mixed.jsonl:1: labels has shape" in done.out
    assert "file=mixed.jsonl,line=2,title=MK409" in done.out
    assert "file=mixed.jsonl,line=3,title=MK102" in done.out


def test_rows_of_tokens_are_told_both_ways(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("labels.jsonl").write_text(json.dumps({"input_ids": [2, 276, 20, 3], "labels": [-100, -100, 20, 3]}) + "\n")
    done = call(capsys, "lint", "labels.jsonl", "--model", "tiny", "--json")
    assert done.status == 1
    said = done.json["findings"][0]["places"][0]["message"]
    assert said.startswith("tokens without their messages")
    assert "'from-data'" in said
    assert said.endswith("; maskkit lint --format labels looks at that mask")
    for way in (["--format", "labels"], ["--strategy", "from-data"]):
        assert "row-refused" not in [
            found["name"] for found in call(capsys, "lint", "labels.jsonl", "--model", "tiny", "--json", *way).json["findings"]
        ]


def test_a_file_gets_no_blanks_at_the_end_of_lines(files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "60")
    done = call(capsys, "lint", "marked.jsonl", "--tokenizer", "tiny")
    assert "data-weights-ignored" in done.out
    assert [line for line in done.out.split("\n") if line != line.rstrip()] == []
