"""Mistakes of a first day: each is one line on stderr that says where, what was found, what was expected and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskkit import embedded
from tests.cli.commands import call, refused

USER, REPLY = {"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}
RUN = {"model": "tiny", "data": {"train": "rows.jsonl", "eval": None}, "output_dir": "out"}


def line(*messages: dict[str, Any], **more: Any) -> str:
    return json.dumps({"messages": [*messages], **more}) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a beginner may get wrong; nothing in it is written to."""
    folder = tmp_path_factory.mktemp("mistakes")
    good = line(USER, REPLY)
    files: dict[str, str | bytes] = {
        "rows.jsonl": good,
        "column.jsonl": json.dumps({"question": "1 + 1?", "solution": "2"}),
        "list.jsonl": json.dumps([json.loads(good)], indent=1),
        "empty.jsonl": "",
        "utf16.jsonl": good.encode("utf-16"),
        "torn.jsonl": good + good[:30],
        "bot.jsonl": good + line(USER, {"role": "bot", "content": "2"}),
        "none.jsonl": good + line({"role": "user", "content": None}, REPLY),
        "number.jsonl": line({"role": "user", "content": 5}, REPLY),
        "norole.jsonl": line({"content": "x"}, REPLY),
        "nan.jsonl": line(USER, {**REPLY, "weight": float("nan")}),
        "text.jsonl": line(USER, {**REPLY, "weight": "high"}),
        "negative.jsonl": line(USER, {**REPLY, "weight": -1}),
        "long.jsonl": json.dumps({"input_ids": [2, 276, 20], "loss_weights": [0, 1, 1, 1]}),
        "other.jsonl": json.dumps({"input_ids": [2, 276_000], "labels": [-100, 276_000]}),
        "table.csv": "a,b\n1,2\n",
        "tab.yaml": "model: tiny\ndata:\n\ttrain: rows.jsonl\n",
        "latin.yaml": "model: tiny # é".encode("latin-1"),
        "run.yaml": json.dumps(RUN),
        "raises.py": "import maskkit\n\nclass Mine(maskkit.Strategy):\n    def weights(self, tokens):\n        return {}['x']\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    tokenizer = embedded.tiny_tokenizer()
    for name, template in (("bare", None), ("raising", "{{ raise_exception('only even turns') }}")):
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder / name)
    (folder / "nothing").mkdir()
    embedded.tiny_model().save_pretrained(folder / "damaged")
    tokenizer.save_pretrained(folder / "damaged")
    parameters = folder / "damaged" / "model.safetensors"
    parameters.write_bytes(parameters.read_bytes()[:5000])
    return folder


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.chdir(folder)
    return names()


DATA = {
    "column.jsonl": ("column.jsonl:1: found the fields 'question', 'solution', expected {'messages'", "rename the fields"),
    "list.jsonl": ("list.jsonl:1: the line begins a JSON list", "call a file that is a list of rows .json"),
    "empty.jsonl": ("empty.jsonl: no row is in it", ""),
    "utf16.jsonl": ("utf16.jsonl:1: not UTF-8 but UTF-16", "save the file as UTF-8"),
    "torn.jsonl": ("torn.jsonl:2: not JSON: ", "column"),
    "bot.jsonl": ("bot.jsonl:2: the chat template refuses the conversation", "unknown role 'bot': this template knows system, user,"),
    "none.jsonl": ("none.jsonl:2: messages[0].content is missing, expected text", ""),
    "number.jsonl": ("number.jsonl:1: messages[0].content is 5, expected text", ""),
    "norole.jsonl": ("norole.jsonl:1: messages[0].role is missing, expected a text such as 'user'", ""),
    "nan.jsonl": ("nan.jsonl:1: messages[1].weight is nan, expected true, false or a number", ""),
    "text.jsonl": ("text.jsonl:1: messages[1].weight is 'high', expected true, false or a number", ""),
    "negative.jsonl": ("negative.jsonl:1: the row gives token ", "the weight -1.0; set signed: true if negative weights are meant"),
    "long.jsonl": ("long.jsonl:1: loss_weights has 4 values, expected 3", "one for each of input_ids"),
    "other.jsonl": ("other.jsonl:1: input_ids has 276000, and the tokenizer has 808 tokens", "is it theirs?"),
    "table.csv": ("table.csv: unknown type of file, expected names that end with .jsonl", ""),
    "rosw.jsonl": ("there is no file rosw.jsonl. Did you mean 'rows.jsonl'?", ""),
}


@pytest.mark.parametrize("file", DATA)
def test_in_data(here: set[str], capsys: pytest.CaptureFixture[str], file: str):
    begins, does = DATA[file]
    said = refused(capsys, "preview", file, "--model", "tiny", "--rows", "2", "--strategy", "from-data")
    assert said.startswith(begins)
    assert does in said


@pytest.mark.parametrize(
    ("model", "begins", "does"),
    [
        ("./absent", "model './absent': there is no such folder", "give a folder with config.json, a hub name, 'tiny' or 'smollm2'"),
        ("rows.jsonl", "model 'rows.jsonl' is a file, expected a folder with config.json", ""),
        ("nothing", "model 'nothing': no tokenizer (tokenizer.json, ...) is in this folder; found nothing", ""),
        ("bare", "rows.jsonl:1: the row is a conversation, and the tokenizer has no chat template", "take the instruct model, or save"),
        ("raising", "rows.jsonl:1: the chat template refuses the conversation", "only even turns"),
    ],
)
def test_in_a_tokenizer(here: set[str], capsys: pytest.CaptureFixture[str], model: str, begins: str, does: str):
    said = refused(capsys, "preview", "rows.jsonl", "--model", model)
    assert said.startswith(begins)
    assert does in said


@pytest.mark.parametrize(
    ("change", "begins", "does"),
    [
        ("strategy=asistant-only", "run.yaml: unknown strategy 'asistant-only'. Did you mean 'assistant-only'?", "Available: "),
        ("strategy={name: weighted, anwser: 1}", "run.yaml: strategy 'weighted': unknown option 'anwser'. Did you mean 'answer'?", ""),
        ("strategy={name: weighted, answer: -1}", "run.yaml: strategy 'weighted': answer is -1, expected 0 or more", ""),
        ("strategy={name: weighted, answer: .nan}", "run.yaml: strategy 'weighted': answer is nan, expected a finite number", ""),
        ("strategy=dft", "run.yaml: 'dft' is a loss modifier", "strategy: {product: [assistant-only, dft]}"),
        ("training.learning_rat=1", "run.yaml: unknown key 'training.learning_rat'. Did you mean 'learning_rate'?", "Available: "),
        ("learning_rate=1", "run.yaml: unknown key 'learning_rate'. Did you mean 'training.learning_rate'?", ""),
        ("training.max_steps=two", "run.yaml: training.max_steps is 'two', expected a whole number", ""),
        ("data.eval=2", "run.yaml: data.eval is 2", "expected a file or a share"),
        ("model=damaged", "model 'damaged': a file of parameters is damaged", "get it again"),
        ("model=bare", "model 'bare': no model (config.json, model.safetensors, ...) is in this folder; found ", ""),
    ],
)
def test_in_a_config(here: set[str], capsys: pytest.CaptureFixture[str], change: str, begins: str, does: str):
    said = refused(capsys, "train", "run.yaml", "--set", change)
    assert said.startswith(begins)
    assert does in said
    assert names() == here, "nothing is written"


@pytest.mark.parametrize(
    ("arguments", "begins", "does"),
    [
        (("train", "tab.yaml"), "tab.yaml:3: not YAML: ", "indent with spaces, not with tabs"),
        (("train", "latin.yaml"), "latin.yaml: not UTF-8: byte 0xe9 at position 14", "save it as UTF-8"),
        (("train", "rows.jsonl"), "rows.jsonl: unknown type of file, a config ends with .yaml", "maskkit new config rows.jsonl"),
        (("train", "absent.yaml"), "there is no config absent.yaml.", "Available: "),
        (("lint", "empty.jsonl", "--model", "tiny"), "empty.jsonl: no row is in it", ""),
        (("preview", "rows.jsonl"), "rows.jsonl is data", "add --model (or give a config)"),
        (("check", "template", "absent.jinja"), "there is no file absent.jinja", "expected a file with a chat template, or a model"),
        (("check", "template", "bare/tokenizer_config.json"), "bare/tokenizer_config.json is no chat template", "give the model's folder"),
        (("check", "template", "bare"), "no chat template to check: bare has none", "take the instruct model, or give a file"),
        (("trian", "run.yaml"), "No such command 'trian'. Did you mean 'train'?", "maskkit --help"),
    ],
)
def test_in_a_command(here: set[str], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], begins: str, does: str):
    said = refused(capsys, *arguments)
    assert said.startswith(begins)
    assert does in said


def test_in_a_strategy_of_ones_own(here: set[str], folder: Path, capsys: pytest.CaptureFixture[str]):
    done = call(capsys, "preview", "rows.jsonl", "--model", "tiny", "--strategy", "./raises.py:Mine")
    assert done.status == 1
    error = f"error: strategy './raises.py:Mine' failed on rows.jsonl:1: KeyError: 'x' (raised at {folder / 'raises.py'}:5)"
    assert done.err.splitlines()[-1] == error
