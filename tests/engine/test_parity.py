"""`maskkit check parity`: the update of a config is the same however it is split, and what is not the same is noticed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from maskkit import embedded
from maskkit.config import RunConfig
from maskkit.engine import parity as module
from maskkit.engine.parity import Step, apart, parity
from maskkit.engine.small_copy import in_double, small_copy
from maskkit.errors import ConfigError, DataError
from tests.cli.commands import call
from tests.engine.runs import chat, config, dropout_model, write_rows
from tests.reference import NORMALIZATIONS

LORA = {"r": 2, "alpha": 4, "target_modules": ["q_proj", "v_proj"]}


def a_config(tmp_path: Path, **changes: Any) -> RunConfig:
    if not (tmp_path / "rows.jsonl").exists():
        write_rows(tmp_path / "rows.jsonl", 12, lambda n: chat(f"What is {n}?", "so it is " * (n % 4), str(n)))
    return config(tmp_path, **{"answers": {"count": 0}, "max_length": 128, **changes})


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_every_split_has_the_gradients_of_one_batch(tmp_path, normalization):
    found = parity(a_config(tmp_path, loss={"normalization": normalization}, training={"packing": True}), processes=False)
    assert set(found.differences) == {"1 row at a time", "3 rows at a time", "packed"}
    assert max(found.differences.values()) < 1e-12
    assert found.exact
    assert (found.model, found.trained, found.rows) == ("LlamaForCausalLM", "all parameters", 8)
    assert found.largest_gradient > 1e-3


def test_loss_modifiers_and_a_strategy_of_the_config_are_used(tmp_path):
    plain = parity(a_config(tmp_path), processes=False)
    modified = parity(a_config(tmp_path, strategy={"product": ["assistant-only", "focal"]}), processes=False)
    assert modified.exact
    assert modified.largest_gradient != plain.largest_gradient


def test_with_lora_the_gradients_of_the_adapters_are_compared(tmp_path):
    with_adapters = a_config(tmp_path, lora=LORA, training={"packing": True})
    step = Step(with_adapters, datetime(2026, 1, 1))
    gradients, _ = step.gradients([[[number]] for number in range(8)])
    assert len(gradients) == 2 * 2 * 2, "two matrices beside each of two maps in each of two layers"
    assert all("lora_" in name and gradient.any() for name, gradient in gradients.items()), "none of them is zero, which proves nothing"
    found = parity(with_adapters, processes=False)
    assert (found.exact, found.trained) == (True, "adapters of rank 2")


def test_with_lora_a_loss_that_is_averaged_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "global_denominator", lambda batches, *_: batches[0].denominator * len(batches))
    assert not parity(a_config(tmp_path, lora=LORA), processes=False).exact


def test_what_is_not_looked_at_is_named(tmp_path):
    path = tmp_path / "run.yaml"
    training = {"bf16": True, "gradient_checkpointing": True}
    path.write_text(a_config(tmp_path, model=dropout_model(tmp_path / "model"), lora={**LORA, "dropout": 0.5}, training=training).to_yaml())
    found = module.parity(RunConfig.load(path), processes=False)
    assert found.exact, "nothing is drawn at random"
    assert found.left_out == {
        "training.bf16": "all is float64",
        "training.gradient_checkpointing": "each layer is computed once",
        "lora.dropout": "nothing is dropped",
        "the model's attention_dropout": "nothing is dropped",
    }
    assert parity(a_config(tmp_path), processes=False).left_out == {}


def test_a_loss_that_is_averaged_over_micro_batches_is_noticed(tmp_path, monkeypatch):
    """The mistake that the command is there for: each micro-batch divided by its own weights."""

    def own(batches, *_: Any) -> Any:
        return batches[0].denominator * len(batches)

    monkeypatch.setattr(module, "global_denominator", own)
    found = parity(a_config(tmp_path), processes=False)
    assert not found.exact
    assert min(found.differences.values()) > 1e-6


def test_the_command_compares_two_processes_too(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(a_config(tmp_path, lora=LORA).to_yaml())
    done = call(capsys, "check", "parity", str(path), "--json")
    found = done.json
    assert done.status == 0
    assert found["trained"] == "adapters of rank 2"
    assert found["exact"]
    assert [name for name in found["differences"] if name.startswith("2 processes")] == [
        "2 processes, equal parts",
        "2 processes, unequal parts",
        "2 processes, one has no rows",
    ]
    assert not (tmp_path / "run").exists(), "nothing is trained"


def test_the_step_is_that_of_the_reference(tmp_path):
    """Full logits, and the definition in one line."""
    step = Step(a_config(tmp_path), datetime(2026, 1, 1))
    found, _ = step.gradients([[[number]] for number in range(8)])
    step.model.zero_grad()
    with in_double():
        total, weights = torch.zeros((), dtype=torch.float64), 0.0
        for row in step.rows:
            ids, weight = torch.tensor(row.input_ids), torch.tensor(row.loss_weights).double()
            log_probs = step.model(input_ids=ids[None], use_cache=False).logits[0, :-1].log_softmax(-1)
            total = total - (weight[1:] * log_probs.gather(1, ids[1:, None])[:, 0]).sum()
            weights += float(weight[1:].sum())
        (total / weights).backward()
    assert apart(found, {name: p.grad for name, p in step.model.named_parameters()}) < 1e-12


@pytest.mark.parametrize("family", ["gpt2", "qwen3", "gemma3_text", "mixtral"])
def test_small_copies_are_of_the_same_family_and_compute_in_float64(family):
    made_of = AutoConfig.for_model(family, vocab_size=97, pad_token_id=0)
    before = made_of.to_dict()
    model = small_copy(made_of, family)
    assert made_of.to_dict() == before, "the config itself is left alone"
    assert model.config.model_type == family
    assert sum(parameter.numel() for parameter in model.parameters()) < 200_000
    ids = torch.arange(12).view(1, 12)
    with torch.no_grad(), in_double():
        alone, beside = model(input_ids=ids).logits[0], model(input_ids=ids.repeat(3, 1)).logits[1]
    assert alone.dtype == torch.float64
    assert (alone - beside).abs().max() < 1e-13


def test_a_family_that_cannot_be_made_small_is_named():
    broken = AutoConfig.for_model("vit")
    with pytest.raises(ConfigError, match=r"model 'mine': no small copy can be made of a ViTConfig \("):
        small_copy(broken, "mine")


def test_rows_without_trained_tokens_are_named(tmp_path):
    write_rows(tmp_path / "rows.jsonl", 3)
    with pytest.raises(DataError, match=r"rows.jsonl: strategy .* trains no token of any row"):
        parity(a_config(tmp_path, strategy={"name": "weighted", "answer": 0, "reasoning": 0, "stop": 0}), processes=False)


def test_a_parameter_with_a_gradient_in_one_split_only_is_noticed():
    assert apart({"a": torch.ones(2)}, {}) == float("inf")


def test_the_embedded_model_is_copied_from_its_own_config():
    assert type(small_copy(embedded.tiny_model().config, "tiny")) is type(embedded.tiny_model())
