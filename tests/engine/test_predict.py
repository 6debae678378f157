"""Asking a model for log-probabilities: short way, long way, bfloat16."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from maskkit.batching import DataCollator
from maskkit.engine.batches import Batcher
from maskkit.engine.predict import Predictor, Request
from maskkit.errors import ConfigError
from maskkit.loss import Normalizer, weighted_sum
from tests.reference import as_example, ragged_rows, sequence_log_probs, tiny_llama


class Padding:
    pad_token_id = 0


def batch_of(rows):
    return Batcher(DataCollator(Padding()), Normalizer(), 8, torch.device("cpu"))([[[as_example(row)] for row in rows]])[0]


def test_only_chosen_tokens_reach_the_head():
    model, rows = tiny_llama(), ragged_rows(4)
    batch, sizes = batch_of(rows), []
    predict = Predictor(model)
    model.lm_head.register_forward_hook(lambda *_: sizes.append("called"))
    log_probs = predict(batch.tensors, batch.entries)
    expected = [sequence_log_probs(model, row.ids)[1:][row.weights[1:] != 0] for row in rows]
    sizes_after_reference = len(sizes)
    assert torch.allclose(log_probs, torch.cat(expected), atol=1e-13)
    assert sizes_after_reference == len(rows)  # the reference's own calls; the predictor made none


def test_a_head_that_is_not_plain_is_said_in_the_log(caplog):
    model = tiny_llama()
    model.lm_head = nn.Sequential(model.lm_head)
    with caplog.at_level(logging.INFO):
        predict = Predictor(model)
    assert "no-linear-head" in caplog.text
    batch = batch_of(ragged_rows(4))
    assert torch.allclose(predict(batch.tensors, batch.entries), Predictor(tiny_llama())(batch.tensors, batch.entries), atol=1e-13)


@pytest.mark.parametrize("plain", [True, False])
def test_bfloat16_is_for_the_products_and_not_for_the_parameters(plain):
    model = tiny_llama().float()
    if not plain:
        model.lm_head = nn.Sequential(model.lm_head)
    batch = batch_of(ragged_rows(4))
    exact = Predictor(model)(batch.tensors, batch.entries)
    rough = Predictor(model, bf16=True)(batch.tensors, batch.entries)
    rough.sum().backward()
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max().item() < 0.05
    assert {p.dtype for p in model.parameters()} | {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_adapters_get_their_gradients_and_nothing_else_does():
    """LoRA on a model whose head and backbone are frozen: the short way gives the gradients of full logits."""
    peft = pytest.importorskip("peft")
    batch, found = batch_of(ragged_rows(4)), []
    for backend in ("auto", "full-logits"):
        torch.manual_seed(0)
        config = peft.LoraConfig(target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        model = peft.get_peft_model(tiny_llama(), config)
        predict = Predictor(model, backend=backend)
        assert predict.head.plain
        request = Request(batch.entries, coefficients=batch.coefficients)
        weighted_sum(predict.scores(batch.tensors, request).log_prob, batch.coefficients).backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all("lora_" in name for name in found[0])
    assert max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0]) < 1e-12


def test_adapters_that_put_tokens_in_front_are_refused():
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    predict = Predictor(peft.get_peft_model(tiny_llama(), config))
    batch = batch_of(ragged_rows(2))
    with pytest.raises(ConfigError, match="expected one row per token"):
        predict(batch.tensors, batch.entries)


@pytest.mark.parametrize("backend", ["auto", "recompute", "full-logits"])
def test_capped_logits_are_predicted_the_short_way(backend):
    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma2Config(**shape, num_key_value_heads=2, head_dim=8, final_logit_softcapping=0.3, pad_token_id=0)
    model = Gemma2ForCausalLM(config).double()
    rows, batch = ragged_rows(4), batch_of(ragged_rows(4))
    predict = Predictor(model, backend=backend)
    assert predict.head.softcap == 0.3
    found = predict.scores(batch.tensors, Request(batch.entries, frozenset({"top1"})))
    expected = torch.cat([sequence_log_probs(model, row.ids)[1:][row.weights[1:] != 0] for row in rows])
    assert torch.allclose(found.log_prob, expected, atol=1e-6)  # its norms and its cap are in float32
    assert found.top1.dtype == torch.bool
    with pytest.raises(ConfigError, match=r"cannot cap logits, which this model does \(at 0.3\)"):
        Predictor(model, backend="torch")
