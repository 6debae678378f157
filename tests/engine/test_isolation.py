"""Models that cannot keep packed documents apart are found by asking them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from maskkit.batching import DataCollator
from maskkit.engine.isolation import check_isolation, reads_one_row
from maskkit.errors import ConfigError


class Padding:
    pad_token_id = 0


COLLATOR = DataCollator(Padding(), packing=True)
SHAPE = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE |= {"num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ISOLATED = {
    "llama": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gemma3_text": {"head_dim": 8, "sliding_window": 4, "num_hidden_layers": 6},
    "qwen3_moe": {"head_dim": 8, **EXPERTS},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
}
LEAKING = {
    "gpt_oss": {
        "head_dim": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "mamba2": {"head_dim": 8, "num_heads": 8, "state_size": 8, "n_groups": 1, "expand": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}


def model_of(family, **more):
    torch.manual_seed(0)
    sizes = ISOLATED | LEAKING
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SHAPE, **sizes[family], **more}))


@pytest.mark.parametrize("family", ISOLATED)
def test_families_that_keep_documents_apart_may_pack(family):
    check_isolation(model_of(family), COLLATOR, family)


@pytest.mark.parametrize("family", LEAKING)
def test_families_that_do_not_are_refused_by_name_with_a_cure(family):
    model = model_of(family)
    with pytest.raises(ConfigError, match=rf"model 'mine' \({type(model).__name__}\) .*training\.packing to false"):
        check_isolation(model, COLLATOR, "mine")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_in_other_precisions(dtype):
    check_isolation(model_of("llama").to(dtype), COLLATOR, "llama")
    with pytest.raises(ConfigError, match="see each other"):
        check_isolation(model_of("lfm2", initializer_range=0.5).to(dtype), COLLATOR, "lfm2")


def test_a_mask_of_ones_would_be_noticed():
    """What most collators give, and what silently lets documents see each other."""

    class Masking(DataCollator):
        def __call__(self, rows):
            batch = super().__call__(rows)
            return batch | {"attention_mask": (batch["document_ids"] >= 0).long()}

    with pytest.raises(ConfigError, match="see each other"):
        check_isolation(model_of("llama"), Masking(Padding(), packing=True), "llama")


def test_positions_that_go_on_from_document_to_document_would_be_noticed():
    model = model_of("gpt2")
    forward = model.forward

    def counting_on(position_ids=None, **inputs):
        return forward(position_ids=None if position_ids is None else position_ids + 7 * (position_ids.cumsum(-1) > 30).long(), **inputs)

    model.forward = counting_on
    with pytest.raises(ConfigError, match="reads a packed document differently"):
        check_isolation(model, COLLATOR, "gpt2")


def test_a_model_that_takes_no_positions_is_refused():
    model = model_of("llama")
    forward = model.forward
    model.forward = lambda input_ids, use_cache, attention_mask=None: forward(input_ids=input_ids, use_cache=use_cache)
    with pytest.raises(ConfigError, match="cannot be called with packed rows"):
        check_isolation(model, COLLATOR, "llama")


def test_nothing_is_touched():
    """The run after the probe is the run without it."""
    model = model_of("llama", attention_dropout=0.5).train()
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    check_isolation(model, COLLATOR, "llama")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_flash_attention_looks_for_documents_in_a_single_row():
    model = model_of("llama")
    assert not reads_one_row(model)
    model.config._attn_implementation = "flash_attention_2"
    assert reads_one_row(model)
