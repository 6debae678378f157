"""Stored ids are read with the tokenizer that they were made with, and with no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import maskkit
from maskkit import embedded
from maskkit.errors import TokenizerError
from maskkit.masker.fingerprints import tokenizer_fingerprint
from maskkit.prepare import Settings, prepare
from maskkit.records import records_of
from tests.cli.commands import call, refused

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def saved(folder: Path, **changes: Any) -> str:
    """The tiny tokenizer in a folder, with another token or another chat template."""
    tokenizer = embedded.tiny_tokenizer()
    if "token" in changes:
        tokenizer.add_tokens(changes["token"])
    tokenizer.chat_template = changes.get("template", tokenizer.chat_template)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``rows.jsonl``, the prepared folder ``out`` that was made of it with the tiny tokenizer, and the folders of three tokenizers."""
    place = tmp_path_factory.mktemp("other")
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    (place / "rows.jsonl").write_text(3 * (json.dumps({"messages": messages}) + "\n"))
    prepare([str(place / "rows.jsonl")], place / "out", Settings(model="tiny"))
    saved(place / "same")
    saved(place / "other", token="yo")
    saved(place / "template", template=TEMPLATE)
    return place


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.mark.parametrize(
    "command",
    [
        ("preview", "out"),
        ("preview", "out/data"),
        ("preview", "out/data/part-00000.parquet"),
        ("preview", "out/data/*.parquet"),
        ("explain", "out", "--token", "3"),
        ("lint", "out"),
        ("lint", "out", "--format", "labels"),
        ("prepare", "out", "-o", "again", "--workers", "1"),
        ("prepare", "out", "-o", "again", "--workers", "2"),
    ],
    ids=" ".join,
)
def test_another_tokenizer_is_an_error(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]):
    said = refused(capsys, *command, "--tokenizer", "other", *(() if "labels" in command else ("--strategy", "from-data")))
    assert said.startswith("out was prepared with the tokenizer of 'tiny' (sha256:")
    assert "use the tokenizer it was prepared with, or run maskkit prepare anew" in said
    assert not Path("again").exists()


def config(folder: Path, tokenizer: str, **data: Any) -> maskkit.RunConfig:
    model = folder / "model"
    embedded.tiny_model().save_pretrained(model)
    for file in Path(tokenizer).iterdir():
        shutil.copy(file, model)
    training = {"max_steps": 1, "per_device_train_batch_size": 1}
    values = {"model": str(model), "data": {"train": "out", "eval": None, **data}, "training": training, "strategy": "from-data"}
    return maskkit.RunConfig.from_mapping({**values, "output_dir": str(folder / "run")})


@pytest.mark.parametrize("data", [{}, {"streaming": True}, {"workers": 1}], ids=str)
def test_no_run_begins_with_another_tokenizer(tmp_path: Path, data: dict[str, Any]):
    with pytest.raises(TokenizerError, match=r"^out was prepared with the tokenizer of 'tiny'"):
        maskkit.train(config(tmp_path, "other", **data), progress=False)


@pytest.mark.parametrize("data", [{}, {"streaming": True}, {"workers": 1}], ids=str)
def test_a_run_with_another_template_goes_on_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, data: dict[str, Any]):
    maskkit.train(config(tmp_path, "template", **data), progress=False)
    assert caplog.text.count("out was prepared with another chat template (sha256:") == 1


def test_the_tokenizer_it_was_prepared_with_is_known_again(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]):
    assert "warning" not in call(capsys, "preview", "out", "--tokenizer", "same", "--strategy", "from-data").err
    tokenizer = embedded.tiny_tokenizer()
    tokenizer(["a", "b and c"], padding=True, truncation=True, max_length=2)  # leaves its traces in the tokenizer
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(embedded.tiny_tokenizer())
    assert len(maskkit.Masker(tokenizer, "from-data").batch(records_of("out"))) == 3
    assert "prepared with" not in caplog.text


def test_a_file_without_its_manifest_is_taken_as_it_is(tmp_path: Path):
    (tmp_path / "data").mkdir()
    shutil.copy("out/data/part-00000.parquet", tmp_path / "data")
    other = maskkit.models.load_tokenizer("other")
    for manifest in (None, "{", '{"files": []}'):
        if manifest is not None:
            (tmp_path / "manifest.json").write_text(manifest)
        assert len(maskkit.Masker(other, "from-data").batch(records_of(tmp_path / "data/part-00000.parquet"))) == 3


def test_another_file_in_the_folder_is_not_of_that_tokenizer(tmp_path: Path):
    shutil.copytree("out", tmp_path / "out")
    shutil.copy("out/data/part-00000.parquet", tmp_path / "out/data/mine.parquet")
    other = maskkit.models.load_tokenizer("other")
    assert len(maskkit.Masker(other, "from-data").batch(records_of(tmp_path / "out/data/mine.parquet"))) == 3
    with pytest.raises(TokenizerError):
        maskkit.Masker(other, "from-data").batch(records_of(tmp_path / "out/data/part-00000.parquet"))
