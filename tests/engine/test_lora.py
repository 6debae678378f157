"""Adapters in place of parameters: what is trained, saved, merged, and gone on with."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from maskkit import embedded
from maskkit.config import LoraConfig, RunConfig
from maskkit.engine import train
from maskkit.errors import ConfigError, MissingExtraError, UnknownNameError
from maskkit.models import load_model, load_tokenizer
from maskkit.models.adapters import add_adapters
from tests.engine.runs import config, dropout_model, measured, write_rows

peft = pytest.importorskip("peft", reason="peft is not installed")

SHORT = {"max_steps": 4, "gradient_accumulation_steps": 1, "warmup_steps": 0, "save_steps": 2, "eval_steps": 0}
IDS = torch.arange(3, 13)[None]


def lora_run(tmp_path: Path, name: str = "run", **changes: Any) -> Any:
    if not (tmp_path / "rows.jsonl").exists():
        write_rows(tmp_path / "rows.jsonl", 8)
    training = {**SHORT, **changes.pop("training", {})}
    lora = {"r": 4, "alpha": 8, **changes.pop("lora", {})}
    return config(tmp_path, name, training=training, lora=lora, **{"answers": {"count": 0}, **changes})


def adapters_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_adapters_are_trained_and_saved_as_peft_loads_them(tmp_path):
    result = train(lora_run(tmp_path), progress=False)
    assert result.last_loss < result.first_loss
    names = {file.name for file in result.model_dir.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names
    assert not {"model.safetensors", "config.json"} & names
    base = embedded.tiny_model(0)
    with torch.random.fork_rng():
        loaded = peft.PeftModel.from_pretrained(base, str(result.model_dir))
    before = logits(embedded.tiny_model(0))
    assert (logits(loaded) - before).abs().max() > 1e-3
    assert json.loads((result.model_dir / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"


def test_a_folder_of_adapters_is_a_model_with_them_merged_in(tmp_path):
    """It can be looked at and trained further under its name."""
    result = train(lora_run(tmp_path), progress=False)
    plain, adapted = load_model(str(result.model_dir)), peft.PeftModel.from_pretrained(embedded.tiny_model(0), str(result.model_dir))
    assert type(plain) is type(embedded.tiny_model(0))
    assert torch.allclose(logits(plain), logits(adapted), atol=1e-5)
    assert load_tokenizer(str(result.model_dir)).chat_template == embedded.tiny_tokenizer().chat_template
    (result.model_dir / "adapter_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no adapter_model.safetensors"):
        load_model(str(result.model_dir))


def test_merged_on_request_into_a_plain_model_with_the_same_predictions(tmp_path):
    from transformers import AutoModelForCausalLM

    adapters = train(lora_run(tmp_path, "adapters"), progress=False)
    merged = train(lora_run(tmp_path, "merged", lora={"merge": True}), progress=False)
    assert measured(merged.metrics_path) == measured(adapters.metrics_path)
    names = {file.name for file in merged.model_dir.iterdir()}
    assert {"model.safetensors", "config.json"} <= names
    assert "adapter_config.json" not in names
    plain = AutoModelForCausalLM.from_pretrained(merged.model_dir)
    expected = logits(peft.PeftModel.from_pretrained(embedded.tiny_model(0), str(adapters.model_dir)))
    assert torch.allclose(logits(plain), expected, atol=1e-5)
    assert "lora" not in "".join(load_file(merged.model_dir / "model.safetensors"))


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    """With dropout in model and adapters, and clipped, at least."""
    name = dropout_model(tmp_path / "base")
    run = lora_run(tmp_path, model=name, lora={"dropout": 0.1})
    whole = train(run, progress=False)
    expected, lines = adapters_of(whole.model_dir), measured(whole.metrics_path)
    checkpoint = whole.output_dir / "checkpoints" / "step-2"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert not (checkpoint / "model.safetensors").exists()
    frozen = sum(file.stat().st_size for file in (tmp_path / "base").glob("*.safetensors"))
    assert (checkpoint / "adapter_model.safetensors").stat().st_size < 0.1 * frozen
    shutil.rmtree(whole.output_dir / "checkpoints" / "step-4")
    shutil.rmtree(whole.model_dir)
    again = train(run, progress=False, resume=True)
    assert same(adapters_of(again.model_dir), expected)
    assert measured(again.metrics_path) == lines


def test_a_changed_base_model_is_noticed(tmp_path):
    name = dropout_model(tmp_path / "base")
    run = lora_run(tmp_path, model=name)
    result = train(run, progress=False)
    shutil.rmtree(result.output_dir / "checkpoints" / "step-4")
    shutil.rmtree(result.model_dir)
    embedded.tiny_model(1).save_pretrained(name)
    with pytest.raises(ConfigError, match="has other parameters than it had then"):
        train(run, progress=False, resume=True)


def test_a_run_with_adapters_is_not_one_without(tmp_path):
    train(lora_run(tmp_path, training={"max_steps": 2}), progress=False)
    with pytest.raises(ConfigError, match=r"lora.r was 4, is 8"):
        train(lora_run(tmp_path, lora={"r": 8}), progress=False, resume=True)


def test_adapters_change_nothing_before_they_are_trained_and_leave_the_random_state():
    model, before = embedded.tiny_model(0), logits(embedded.tiny_model(0))
    state = torch.get_rng_state()
    adapted = add_adapters(model, "tiny", LoraConfig(), seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits(adapted), before)
    assert all("lora_" in name for name, parameter in adapted.named_parameters() if parameter.requires_grad)
    assert not any("lm_head" in name for name, parameter in adapted.named_parameters() if parameter.requires_grad)


def test_an_unknown_target_is_named_with_what_there_is():
    with pytest.raises(UnknownNameError, match=r"'q_prj'\. Did you mean 'q_proj'.*'tiny'"):
        add_adapters(embedded.tiny_model(0), "tiny", LoraConfig(target_modules=["q_prj", "v_proj"]))


def test_a_head_that_is_also_the_embedding_is_refused():
    with pytest.raises(ConfigError, match="one matrix for its embedding and its head"):
        add_adapters(embedded.tiny_model(0), "tiny", LoraConfig(target_modules=["lm_head"]))


def test_a_module_that_cannot_have_adapters_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"lora.target_modules is \['norm'\], which cannot be adapted") as caught:
        add_adapters(embedded.tiny_model(0), "tiny", LoraConfig(target_modules=["norm"]))
    assert "\n" not in str(caught.value)


def test_the_example_is_a_config():
    example = RunConfig.load(Path(__file__).parents[2] / "examples" / "smollm2_lora.yaml")
    assert example.lora == LoraConfig(r=16, alpha=32)
    assert example.training.save_steps


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def refusing(wanted: str, *args: Any, **more: Any) -> Any:
        if wanted == "peft":
            raise ImportError("No module named 'peft'", name="peft")
        return real(wanted, *args, **more)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(MissingExtraError, match=r"LoRA needs the package 'peft': install it with  pip install 'maskkit\[lora\]'"):
        add_adapters(embedded.tiny_model(0), "tiny", LoraConfig())
