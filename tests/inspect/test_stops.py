"""A preview knows the stop tokens that training will know, without loading the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskkit.inspect.stops import generation_stop_ids


@pytest.mark.parametrize(("written", "stops"), [(7, {7}), ([7, 8], {7, 8}), (None, set())])
def test_the_generation_config_names_them(tmp_path: Path, written: object, stops: set[int]):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": written}), encoding="utf-8")
    assert generation_stop_ids(str(tmp_path)) == stops


def test_else_the_models_own_config(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": [3, 4]}), encoding="utf-8")
    assert generation_stop_ids(str(tmp_path)) == {3, 4}


def test_a_folder_with_nothing_but_a_tokenizer_names_none(tmp_path: Path):
    assert generation_stop_ids(str(tmp_path)) == set()


@pytest.mark.parametrize("name", ["tiny", "smollm2"])
def test_the_models_that_come_along_stop_at_their_tokenizers(name: str):
    assert generation_stop_ids(name) == set()
