"""How logits come from hidden states: read from the config, proved by comparing numbers, on real architectures."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    PhiConfig,
    PhiForCausalLM,
)

from maskkit.loss import head_of
from tests.reference import tiny_llama

SMALL = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2))


PLAIN = {
    "llama": tiny_llama,
    "llama-tied": lambda: tiny_llama(tie_word_embeddings=True),
    "gpt2": gpt2,
    "phi-with-bias": lambda: PhiForCausalLM(PhiConfig(**SMALL)),
    "granite-unscaled": lambda: GraniteForCausalLM(GraniteConfig(**SMALL)),
    "llama-bfloat16": lambda: tiny_llama().bfloat16(),
}
SHAPED = {
    "gemma2": (lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=0.05)), (1.0, 0.05)),
    "granite": (lambda: GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=8.0)), (0.125, None)),
    "cohere": (lambda: CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.0625)), (0.0625, None)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_linear_head_is_plain_tied_or_not_with_or_without_bias(name):
    torch.manual_seed(0)
    model = PLAIN[name]().train()
    head = head_of(model)
    assert (head.plain, head.reason) == (True, "")
    assert head.linear is model.get_output_embeddings()
    assert head.backbone is model.base_model
    assert model.training


@pytest.mark.parametrize("name", SHAPED)
def test_scaled_and_capped_logits_are_known_from_the_config(name):
    torch.manual_seed(0)
    make, shape = SHAPED[name]
    model = make()
    head = head_of(model)
    assert (head.plain, head.scale, head.softcap) == (True, *shape)
    ids = torch.tensor([[5, 9, 2, 40, 7]])
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    assert torch.allclose(head.projection.logits(hidden), model(input_ids=ids, use_cache=False).logits, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_hide_a_cap_or_a_scale_near_1(dtype):
    """Small logits, which a wide cap changes less than bfloat16 rounds them."""
    torch.manual_seed(0)
    capped = head_of(Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=30.0)).to(dtype))
    assert (capped.plain, capped.scale, capped.softcap) == (True, 1.0, 30.0)
    scaled = head_of(CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.8333)).to(dtype))
    assert (scaled.plain, scaled.scale, scaled.softcap) == (True, 0.8333, None)
    unknown = CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.8333)).to(dtype)
    unknown.config.logit_scale = 1.0  # the model scales, and its config does not say so
    assert not head_of(unknown).plain


@pytest.mark.parametrize(
    ("config", "reason"),
    [({}, "other-logits"), ({"final_logit_softcapping": 3.0}, "softcapped-logits"), ({"logit_scale": 2.0}, "scaled-logits")],
)
def test_logits_that_the_config_does_not_explain_are_not_guessed(config, reason):
    class Doubled(type(tiny_llama())):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = 5 * output.logits**3
            return output

    head = head_of(Doubled(LlamaConfig(**{**tiny_llama().config.to_dict(), **config})))
    assert (head.plain, head.reason) == (False, reason)


def test_adapters_are_looked_through():
    """The head of a model with LoRA adapters, on which neither wrapper nor adapters change anything."""
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    head = head_of(model)
    assert (head.plain, head.backbone) == (True, model.get_base_model().base_model)


def test_wrappers_are_looked_through():
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, **inputs):
            return self.module(**inputs)

    model = tiny_llama()
    assert head_of(Wrapper(model)).linear is model.lm_head


def test_a_head_that_does_more_than_its_config_says_is_found_out():
    class Shifted(type(tiny_llama())):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits + 0.5
            return output

    assert head_of(Shifted(tiny_llama().config)).reason == "other-logits"


def test_a_head_of_another_class_is_not_taken_for_linear():
    model = tiny_llama()
    model.lm_head = nn.Sequential(model.lm_head)
    assert head_of(model).reason == "no-linear-head"
