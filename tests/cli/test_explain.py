"""``maskkit explain`` on data and on configs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.commands import call, refused

ROW = {
    "messages": [
        {"role": "user", "content": "What is 12 + 9?"},
        {"role": "assistant", "reasoning_content": "12 + 9 = 21", "content": "21"},
    ]
}
DATA = ("explain", "rows.jsonl", "--tokenizer", "tiny")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a row and a config in it, in which the commands run."""
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    config = "model: tiny\ndata: {train: rows.jsonl}\nstrategy: {name: weighted, reasoning: 0.25}\noutput_dir: out\n"
    (tmp_path / "run.yaml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_text_of_data(capsys: pytest.CaptureFixture[str]):
    lines = call(capsys, *DATA, "--find", "= 21").out.splitlines()
    assert lines[0].startswith("tokenizer tiny, template sha256:")
    assert re.fullmatch(r"rows.jsonl:1, token \d+ of 35", lines[2])
    assert lines[3].startswith("text ")
    assert "12 + 9 [=] 21</think>21" in lines[3]
    assert "from         message 1 (assistant), turn 0, field reasoning_content, from character 7" in lines
    assert "generated    yes, behind the prompt of message 1" in lines
    assert "weighs 1 under assistant-only" in lines


def test_the_expression_of_a_composition(capsys: pytest.CaptureFixture[str]):
    spec = '{product: [{name: weighted, rules: [{where: {regex: "21"}, weight: 2}]}, {scale: 0.25, strategy: reasoning-only}]}'
    out = call(capsys, *DATA, "--find", "21", "-s", spec).out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    tree = lines[lines.index("product 0.5") :][:7]
    assert tree == [
        "product 0.5",
        "├ weighted, the last match of 2",
        "│ ├ reasoning 1",
        "│ └ rules[0] 2 {regex: 21}",
        "└ scale, product 0.25",
        "├ factor 0.25",
        "└ reasoning-only 1",
    ]


def test_what_a_config_says(capsys: pytest.CaptureFixture[str]):
    assert "weighs 0.25 under {name: weighted, reasoning: 0.25}" in call(capsys, "explain", "run.yaml", "--find", "=").out
    changed = call(capsys, "explain", "run.yaml", "--find", "=", "--set", "strategy.reasoning=0.5", "--json").json
    assert changed["weighed"][0]["weight"] == 0.5
    assert {other["strategy"] for other in changed["others"]} >= {"causal", "assistant-only"}


def test_the_model_tells_what_it_expects(capsys: pytest.CaptureFixture[str]):
    lines = call(capsys, *DATA, "--token", "-2", "--score").out.splitlines()
    start = lines.index("what the model expects here")
    assert re.search(r"the true token '<\|im_end\|>': p = [\d.e-]+, -ln p = [\d.]+, rank \d+, entropy [\d.]+ nats", lines[start + 1])
    assert re.search(r"it adds 1 x [\d.]+ = [\d.]+ to the weighted sum of losses", lines[start + 2])
    assert len([line for line in lines[start + 4 :] if re.match(r" +\d+ +[\d.e-]+  '", line)]) == 5


def test_nothing_in_it_moves_a_terminal(capsys: pytest.CaptureFixture[str], folder: Path):
    row = {"messages": [{"role": "user", "content": "a\x1b[31m\u202eb"}, {"role": "assistant", "content": "c"}]}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    for options in (("--find", "b"), ("--find", "b", "--json")):
        out = call(capsys, *DATA, *options).out
        assert not re.findall("[\x1b\u202e]", out)


@pytest.mark.parametrize(("options", "said"), [
    ((), "say which token to explain: --token T (a number) or --find TEXT"),
    (("--token", "1", "--find", "2"), "say which token to explain"),
    (("--token", "99"), "rows.jsonl:1: there is no token 99; the row has 35 tokens"),
    (("--token", "1", "--row", "5"), "there is no row 5"),
    (("--find", "zebra"), "'zebra' does not stand in the rendered row"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str):
    assert said in refused(capsys, *DATA, *options)
