"""A tokenizer for a template that came without its own: bytes, and as special tokens the control tokens that the template writes."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(
    r"<[|｜][^<>\s'\"{}]{1,40}[|｜]>|<[|][A-Za-z_]{1,20}>|<[A-Za-z_]{1,20}[|]>|<(?:start|end)_of_\w+>|<SPECIAL_\d+>|\[/?[A-Z]{3,}(?:_[A-Z]+)*\]"
)
_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|return|>", "<end_of_turn>", "<turn|>", "<｜end▁of▁sentence｜>",
    "<end_of_utterance>", "<|END_OF_TURN_TOKEN|>", "<|end|>", "<|endoftext|>",
)  # fmt: skip
"""Tokens that end a turn in the families known, most telling first."""


def stand_in_tokenizer(template: str) -> Any:
    """A fast tokenizer with this chat template, with ``<s>`` and ``</s>`` for the bos and eos tokens that the template asks for.

    Good for looking at a template, and for nothing else: its ids are no model's.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={character: i for i, character in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = sorted({*_CONTROL.findall(template), "<s>", "</s>"})
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    end = "</s>" if "eos_token" in template else next((text for text in _ENDS if text in special), "</s>")
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=backend, bos_token="<s>", eos_token=end, chat_template=template)
