"""Small real tokenizers: bytes, and as added tokens the control tokens that a template writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from transformers.utils import chat_template_utils

from maskkit.chat import ChatRenderer

_CONTROL = re.compile(
    r"<[|｜][^<>\s'\"{}]{1,40}[|｜]>|<[|][A-Za-z_]{1,20}>|<[A-Za-z_]{1,20}[|]>|<(?:start|end)_of_\w+>|<SPECIAL_\d+>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|ARGS|CALL_ID|THINK|IMG|gMASK)\]|</?s>|<sop>"
)
DATE = datetime(2026, 1, 2)
_TAG = re.compile(r"</?(?:think|tool_call|tool_response)>")
_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|return|>", "<end_of_turn>", "<turn|>", "<｜end▁of▁sentence｜>",
    "<end_of_utterance>", "<|END_OF_TURN_TOKEN|>", "<|end|>", "<|endoftext|>",
)  # fmt: skip


@cache
def tokenizer_for(template: str) -> Any:
    """A byte-level tokenizer whose special tokens are those that the template's text contains."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={character: i for i, character in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = sorted({*_CONTROL.findall(template), "<s>", "</s>"})
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in sorted(set(_TAG.findall(template)))])
    end = "</s>" if "eos_token" in template else next((text for text in _ENDS if text in special), "</s>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token=end)
    tokenizer.chat_template = template
    return tokenizer


@cache
def renderer_for(template: str) -> ChatRenderer:
    """One renderer for each template, at one date: compiling is the slow part."""
    return ChatRenderer(tokenizer_for(template), date=DATE)


def transformers_text(tokenizer: Any, messages: Sequence[dict[str, Any]], **arguments: Any) -> str:
    """What transformers itself renders, at the date of `renderer_for`; its shared template is left as it was."""
    names = chat_template_utils._compile_jinja_template(tokenizer.chat_template).globals
    today = names["strftime_now"]
    names["strftime_now"] = lambda format: DATE.strftime(format)
    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **arguments)
    finally:
        names["strftime_now"] = today
    return text
