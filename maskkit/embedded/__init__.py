"""What comes with the package, so that everything runs without a download: a tokenizer, a tiny model, conversations and a config.

    rows = embedded.quickstart_rows()                 # 4,000 puzzles in HF messages form, half English, half Japanese
    embedded.check_answer(rows[0], "8:50")            # is this the right answer? worked out from the question by a program
    tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model(seed=0)

`scripts/build_embedded.py` makes conversations and tokenizer, from a seed.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskkit.embedded.puzzles import check_answer, expected_answer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["QUICKSTART_CONFIG", "QUICKSTART_DATA", "check_answer", "expected_answer", "quickstart_rows", "tiny_model", "tiny_tokenizer"]

_FOLDER = Path(__file__).parent
QUICKSTART_CONFIG = _FOLDER / "quickstart.yaml"
"""The bundled config: `tiny` on the bundled conversations, about a minute on two cores."""
QUICKSTART_DATA = _FOLDER / "data" / "quickstart.jsonl.gz"
"""The bundled conversations."""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of under a thousand tokens, with a chat template that knows system text, reasoning and tools.

    Any text comes back unchanged. Digits are tokens of their own, and so is a line end. Each call returns a tokenizer of the caller's own.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(_FOLDER / "tokenizer", local_files_only=True)
    return tokenizer  # type: ignore[no-any-return]


def tiny_model(seed: int = 0) -> LlamaForCausalLM:
    """An untrained Llama of 0.6 million float32 parameters for `tiny_tokenizer`. The caller's random state is left as it was.

    The wide initial weights (0.06), the small output projections and the short rotary period are what lets it copy and add within 300
    steps; with the defaults of large models it learns little more than the form of the answers in that time.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=320,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=tokenizer.model_max_length,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        initializer_range=0.06,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(config)
    model.to(torch.float32)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.5)
            layer.mlp.down_proj.weight.mul_(0.5)
    return model  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _lines() -> tuple[str, ...]:
    with gzip.open(QUICKSTART_DATA, "rt", encoding="utf-8", newline="\n") as file:
        return tuple(file)


def quickstart_rows() -> list[dict[str, Any]]:
    """The bundled conversations: ``{"messages": [...]}``, with ``tools`` where the assistant has some. Fresh rows at each call."""
    return [json.loads(line) for line in _lines()]
