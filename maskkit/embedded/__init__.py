"""What comes with the package, so that everything runs without a download: a tokenizer, a tiny model, data, a config."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_FOLDER = Path(__file__).parent
QUICKSTART_CONFIG = _FOLDER / "quickstart.yaml"
"""The bundled config."""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of under a thousand tokens, with a chat template that knows system, reasoning and tools."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(_FOLDER / "tokenizer")
    return tokenizer  # type: ignore[no-any-return]


def tiny_model(seed: int = 0) -> LlamaForCausalLM:
    """An untrained Llama of about half a million parameters for `tiny_tokenizer`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


@lru_cache(maxsize=1)
def quickstart_rows() -> list[dict[str, Any]]:
    """The bundled conversations."""
    with gzip.open(_FOLDER / "data" / "quickstart.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
