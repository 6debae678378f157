"""What ids and weights cost, as a multiple of the ids alone.

    python -m benchmarks.data_path [TOKENIZER...]      names of `FAMILIES`; ``data_path.txt``: what it printed last

Processor time of one thread for one conversation, over conversations of one to eight replies that are made of the paragraphs of docs/.
The contestants take turns in random order, everything in one process and one run.

``plain`` is transformers' ``tokenizer.apply_chat_template(messages, tokenize=True)``, which knows of no weights. ``markers`` is the same
with ``return_assistant_tokens_mask=True``, under the template that TRL patches for it. ``renderers`` is the package of that name, for
the families that it knows. ``maskkit`` is ``masker(row)``: ids, the origin of every character, a token table and the weights of
assistant-only.
"""

from __future__ import annotations

import platform
import random
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from time import thread_time
from typing import Any

from maskkit import Masker
from tests.real import real_tokenizer, trl_template

FAMILIES = {"qwen3": "qwen3_training", "llama3_1": "llama3_training", "gptoss": "gptoss_training"}
"""Tokenizers, and the TRL template that has markers for each."""
CONVERSATIONS, ROUNDS = 200, 3


def paragraphs() -> list[str]:
    """Prose of this project's pages."""
    pages = sorted(Path(__file__).parent.parent.joinpath("docs").glob("*.md"))
    found = [part.strip() for page in pages for part in page.read_text(encoding="utf-8").split("\n\n")]
    # typed control tokens are encoded anew as ordinary text: a rare row, which the others do not tell from any other
    return [part for part in found if len(part) > 150 and not part.startswith(("```", "|")) and not any(mark in part for mark in "<[")]


def conversations(seed: int = 0) -> list[list[dict[str, Any]]]:
    """Some with a system message, some with reasoning in the last reply."""
    draw, texts = random.Random(seed), paragraphs()
    made = []
    for _ in range(CONVERSATIONS):
        messages = [{"role": "system", "content": draw.choice(texts)}] if draw.random() < 0.5 else []
        for _ in range(draw.choice((1, 1, 2, 4, 8))):
            messages += [{"role": role, "content": draw.choice(texts)} for role in ("user", "assistant")]
        if draw.random() < 0.5:
            messages[-1]["reasoning_content"] = draw.choice(texts)
        made.append(messages)
    return made


def contestants(name: str) -> dict[str, Callable[[Any], Any]]:
    """Each takes the messages of one conversation."""
    tokenizer, marked = real_tokenizer(name), trl_template(FAMILIES[name])
    masker = Masker(tokenizer)
    found: dict[str, Callable[[Any], Any]] = {
        "plain": lambda messages: tokenizer.apply_chat_template(messages, tokenize=True),
        "markers": lambda messages: tokenizer.apply_chat_template(
            messages, chat_template=marked, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        ),
        "maskkit": lambda messages: masker({"messages": messages}),
    }
    if name == "qwen3" and find_spec("renderers"):
        from renderers import Qwen3RendererConfig, build_training_sample, create_renderer

        theirs = create_renderer(tokenizer, Qwen3RendererConfig())
        found["renderers"] = lambda messages: build_training_sample(theirs, messages, role_to_mask=lambda m: m["role"] == "assistant")
    return found


def measure(name: str) -> dict[str, float]:
    """Milliseconds per conversation."""
    functions, rows, draw = contestants(name), conversations(), random.Random(1)
    for function in functions.values():
        function(rows[0])
    seconds = dict.fromkeys(functions, 0.0)
    for _ in range(ROUNDS):
        for row in rows:
            for each in draw.sample(list(functions), len(functions)):
                began = thread_time()
                functions[each](row)
                seconds[each] += thread_time() - began
    return {each: 1000 * spent / (ROUNDS * len(rows)) for each, spent in seconds.items()}


def main(names: list[str]) -> None:
    """Prints a line for each contestant of each tokenizer."""
    used = ", ".join(f"{package} {version(package)}" for package in ("transformers", "tokenizers"))
    print(f"Python {platform.python_version()}, {used}, {platform.machine()}; {CONVERSATIONS} conversations, {ROUNDS} rounds")
    for name in names or FAMILIES:
        tokenizer = real_tokenizer(name)
        length = fmean(len(tokenizer.apply_chat_template(row, tokenize=True)["input_ids"]) for row in conversations())
        print(f"\n{name}, {length:.0f} tokens a conversation\n{'':12} {'ms':>8}   / plain")
        found = measure(name)
        for each, milliseconds in found.items():
            print(f"{each:12} {milliseconds:8.3f} {milliseconds / found['plain']:9.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
