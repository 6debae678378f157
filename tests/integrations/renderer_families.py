"""The families that the package ``renderers`` knows and for which a real chat template is there, and what is known to differ.

``renderer_families.yaml`` says, for each family and conversation of `tests.chat.conversations`, how many tokens differ for which reason, as
maskkit, renderers and transformers of the versions that it names have it.

    python -m tests.integrations.renderer_families     writes what is found now; read the difference before you commit it
"""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from copy import copy, deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.chat.conversations import CONVERSATIONS
from tests.real import TEMPLATE_PACKAGES, cache_folder, real_tokenizer

if TYPE_CHECKING:
    from maskkit.integrations.renderers import Comparison, RowComparison
    from maskkit.records import Record

EXPECTED = Path(__file__).parent / "renderer_families.yaml"
DATE = datetime(2026, 1, 2)
_CONTROL = re.compile(
    r"<[|｜][^<>\s'\"{}]{1,40}[|｜]>|<[|][A-Za-z_]{1,20}>|<[A-Za-z_]{1,20}[|]>|\[gMASK\]|<sop>|\]~!b\[|\]~b\]|\[e~\[|〈\|EOS\|〉|｜DSML｜"
    r"|</?(?:think|tool_call|tool_response|arg_key|arg_value|assistant|minimax:tool_call)>"
)
_HY3 = re.compile(r"'(</?[a-z_]+\{\}>|<｜[^']+\{\}｜>)'\.format")


@dataclass(frozen=True)
class Family:
    """One family: the renderer's name, the template, and its own tokenizer or one that is given its control tokens.

    bos, eos: of a given one. more: tokens that the renderer asks for and the template does not write. stop: the stop tokens of the models'
    generation config beside eos.
    """

    renderer: str
    template: str
    tokenizer: str = "qwen3"
    bos: str | None = None
    eos: str | None = None
    more: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    @property
    def chat_template(self) -> str:
        """The template's text."""
        package, _, name = self.template.partition("/")
        return TEMPLATE_PACKAGES[package].templates()[name]


_GLM = ("<|endoftext|>", "<tool_response>", "</tool_response>")
_LAGUNA: dict[str, Any] = {"bos": "〈|EOS|〉", "eos": "</assistant>"}
_TASKS = ("latest_reminder", "action", "query", "authority", "domain", "title", "read_url")
FAMILIES: dict[str, Family] = {
    "qwen3": Family("qwen3", "trl/qwen3"),
    "qwen3-2507": Family("qwen3", "trl/qwen3_instruct_2507"),
    "qwen3-vl": Family("qwen3-vl", "trl/qwen3_vl"),
    "qwen3.5": Family("qwen3.5", "trl/qwen3_5_think"),
    "qwen3.5-nothink": Family("qwen3.5", "trl/qwen3_5_nothink"),
    "qwen3.6": Family("qwen3.6", "trl/qwen3_6"),
    "qwen3.8": Family("qwen3.8", "trl/qwen3_8"),
    "gemma4": Family(
        "gemma4", "trl/gemma4_v5", bos="<bos>", eos="<eos>", more=('<|"|>', "<|image>", "<image|>"), stop=("<turn|>", "<|tool_response>")
    ),
    "glm-4.5": Family("glm-4.5", "trl/glm4moe", eos="<|endoftext|>", more=_GLM, stop=("<|user|>", "<|observation|>")),
    "glm-4.7": Family("glm-5", "llama.cpp/GLM-4.7-Flash", eos="<|endoftext|>", more=_GLM, stop=("<|user|>", "<|observation|>")),
    "minimax-m2": Family("minimax-m2", "llama.cpp/MiniMax-M2", bos="]~!b[", eos="[e~["),
    "deepseek-v3": Family("deepseek-v3", "trl/deepseekv3", "deepseek_v3"),
    "deepseek-r1": Family("deepseek-r1", "llama.cpp/llama-cpp-deepseek-r1", "deepseek_v3"),
    "deepseek-v4": Family(
        "deepseek-v4",
        "llama.cpp/deepseek-ai-DeepSeek-V4-Flash-0731",
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
        more=tuple(f"<｜{task}｜>" for task in _TASKS),
    ),
    "hy3": Family("hy3", "llama.cpp/tencent-Hy3", bos="<｜hy_begin_of_sentence:opensource｜>", eos="<｜hy_eos:opensource｜>"),
    "kimi-k2": Family("kimi-k2", "llama.cpp/moonshotai-Kimi-K2", bos="[BOS]", eos="<|im_end|>"),
    "kimi-k2-instruct": Family("kimi-k2", "llama.cpp/Kimi-K2-Instruct", bos="[BOS]", eos="<|im_end|>"),
    "laguna-xs.2": Family("laguna-xs.2", "llama.cpp/poolside-Laguna-XS.2", **_LAGUNA),
    "laguna-xs-2.1": Family("laguna-xs-2.1", "llama.cpp/poolside-Laguna-XS-2.1", **_LAGUNA),
    "laguna-s-2.1": Family("laguna-s-2.1", "llama.cpp/poolside-Laguna-S-2.1", **_LAGUNA),
    "llama-3.2": Family("llama-3", "trl/llama3_2", "llama3_1", more=("<|eom_id|>",)),
    "nemotron-3-nano": Family("nemotron-3", "trl/nemotron_3_nano"),
    "nemotron-3-super": Family("nemotron-3", "trl/nemotron_3_super"),
    "nemotron-3-ultra": Family("nemotron-3-ultra", "trl/nemotron_3_ultra"),
    "nemotron-3.5": Family("nemotron-3.5", "trl/nemotron_3_5_lightning"),
    "gpt-oss": Family("gpt-oss", "trl/gptoss", "gptoss", stop=("<|return|>", "<|call|>")),
}


@cache
def tokenizer_of(name: str) -> Any:
    """The real tokenizer with the family's template; where it is not the family's own, its control tokens are added."""
    family, real = FAMILIES[name], real_tokenizer(FAMILIES[name].tokenizer)
    if not (family.bos or family.eos or family.more):
        tokenizer = copy(real)
        tokenizer.chat_template = family.chat_template
        return tokenizer
    from tokenizers import AddedToken

    tokenizer = deepcopy(real)
    tokenizer.chat_template = family.chat_template
    wanted = {*_CONTROL.findall(family.chat_template), *family.more, *filter(None, (family.bos, family.eos))}
    wanted |= {token.format(":opensource") for token in _HY3.findall(family.chat_template)}
    new = sorted(wanted - set(tokenizer.get_added_vocab()))
    tokenizer.add_tokens([AddedToken(token, special=not re.match(r"</?(think|tool|arg)", token), normalized=False) for token in new])
    tokenizer.bos_token, tokenizer.eos_token = family.bos or tokenizer.bos_token, family.eos or tokenizer.eos_token
    return tokenizer


def records() -> list[Record]:
    """The conversations, each called by its name."""
    from maskkit.records import to_record

    rows = {
        name: {"messages": [dict(m) for m in row.messages], "tools": row.tools, "chat_template_kwargs": dict(row.template_kwargs)}
        for name, row in CONVERSATIONS.items()
    }
    return [to_record(row, source=name) for name, row in rows.items()]


def comparison(name: str) -> Comparison:
    """maskkit beside the renderer of the family, over all conversations."""
    from maskkit.integrations.renderers import compare

    if name == "gpt-oss":
        give_harmony_its_vocabulary()
    tokenizer = tokenizer_of(name)
    stops = tokenizer.convert_tokens_to_ids([*FAMILIES[name].stop])
    return compare(tokenizer, records(), FAMILIES[name].renderer, date=DATE, stop_token_ids=stops)


def give_harmony_its_vocabulary() -> None:
    """Write o200k_base as openai-harmony reads it, which it would download otherwise: the ranks of gpt-oss's own tokenizer."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = cache_folder() / "harmony"
    file = folder / "o200k_base.tiktoken"
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(folder)
    if file.exists():
        return
    tokenizer = real_tokenizer("gptoss")
    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    ranks = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False).items()
    added = set(tokenizer.get_added_vocab())
    lines = [
        base64.b64encode(bytes(byte_of[letter] for letter in token)) + f" {rank}\n".encode()
        for token, rank in sorted(ranks, key=lambda each: each[1])
        if token not in added
    ]
    folder.mkdir(parents=True, exist_ok=True)
    whole = file.with_suffix(f".{os.getpid()}")
    whole.write_bytes(b"".join(lines))
    whole.replace(file)


def found_in(row: RowComparison) -> Any:
    """What ``renderer_families.yaml`` says of a conversation: how many tokens differ for which reason; or who refuses it."""
    if row.outcome != "compared":
        return row.outcome
    counts: Counter[str] = Counter()
    for difference in row.differences:
        counts[f"{difference.aspect} {difference.reason}"] += difference.size
    return dict(sorted(counts.items())) or "the same"


def expected() -> dict[str, Any]:
    """The file."""
    read: dict[str, Any] = yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))
    return read


def versions() -> dict[str, str]:
    """Of the packages whose versions decide what differs."""
    import renderers
    import transformers

    return {"renderers": renderers.__version__, "transformers": transformers.__version__}


def main() -> None:
    """Write the file anew."""
    told = {"versions": versions(), "families": {name: {row.source: found_in(row) for row in comparison(name).rows} for name in FAMILIES}}
    head = "# How many tokens differ for which reason: see renderer_families.py, which writes this file.\n"
    EXPECTED.write_text(
        head + yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=140, default_flow_style=None), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
