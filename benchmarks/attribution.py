"""What attribution costs, as a multiple of transformers' own rendering, and how it grows with the conversation.

    python -m benchmarks.attribution [NAME...]      names of `CONVERSATIONS`; ``attribution.txt``: what it printed last

Processor time of one thread, the median of several repetitions in which the three take turns, everything in one process and one run.
``plain`` is what users call: ``tokenizer.apply_chat_template(messages, tools=.., documents=.., chat_template=.., tokenize=False)``.
``traced`` is one attributed rendering: the row's data traced, the template run, and the origin of every character laid out. ``all`` is
``ChatRenderer.render``: that, ``plain`` once more to compare with, the prompt of every reply and its text at the moment it was
given, and kinds and segments.
"""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from time import thread_time
from typing import Any

from maskkit.chat import ChatRenderer
from maskkit.chat.spans import spans_of
from maskkit.records import to_record
from tests.chat.tokenizers import DATE, tokenizer_for
from tests.real import trl_template

TEMPLATES = ("qwen2_5", "llama3_1", "phi3", "gemma3", "qwen3", "deepseekv3", "gptoss", "gemma4")
WITH_TOOLS = ("qwen3", "gptoss", "gemma4")
CONVERSATIONS = (*TEMPLATES, *(f"{name}, tools" for name in WITH_TOOLS))
PARTS = ("plain", "traced", "all")
TOKENS = (1_000, 4_000, 16_000, 64_000, 128_000)
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks a word up.", "parameters": {"type": "object"}}}
CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE = 4, 250


def conversation(tokens: int, tools: bool = False) -> Any:
    """A conversation of messages of `TOKENS_PER_MESSAGE` tokens, counted as `CHARACTERS_PER_TOKEN` characters each.

    With ``tools`` each question is answered with a call, its result, and a reply.
    """
    text = "word " * (TOKENS_PER_MESSAGE * CHARACTERS_PER_TOKEN // 5)
    turn = ("user", "assistant", "tool", "assistant") if tools else ("user", "assistant")
    messages: list[dict[str, Any]] = []
    for n in range(max(tokens // TOKENS_PER_MESSAGE, len(turn))):
        at = n % len(turn)
        messages.append({"role": turn[at], "content": f"{n} {text}"})
        if tools and at == 1:
            call = {"type": "function", "function": {"name": "look_up", "arguments": {"word": messages[-1].pop("content")}}}
            messages[-1] |= {"content": "", "tool_calls": [call]}
    return to_record({"messages": messages} | ({"tools": [TOOL]} if tools else {}))


def medians(functions: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Seconds of processor time of each; the functions take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            began = thread_time()
            function()
            seconds[name].append(thread_time() - began)
    return {name: median(found) for name, found in seconds.items()}


def measure(renderer: ChatRenderer, tokens: int, tools: bool) -> dict[str, float]:
    """Seconds for one conversation."""
    record = conversation(tokens, tools)
    template = renderer._template_of(record)
    return medians(
        {
            "plain": lambda: renderer._expected(record, template),
            "traced": lambda: spans_of(renderer._conversation(record, template).whole()),
            "all": lambda: renderer.render(record),
        },
        repetitions=25 if tokens < 5_000 else 7,
    )


def growth(found: dict[int, dict[str, float]], part: str) -> float:
    """The exponent with which the cost grows from the shortest to the longest conversation."""
    return math.log(found[TOKENS[-1]][part] / found[TOKENS[0]][part]) / math.log(TOKENS[-1] / TOKENS[0])


def main(names: list[str]) -> None:
    """Prints one table for each conversation, and one of all."""
    print(f"Python {platform.python_version()}, transformers {version('transformers')}, jinja2 {version('jinja2')}, {platform.machine()}")
    print(f"messages of {TOKENS_PER_MESSAGE} tokens, a token counted as {CHARACTERS_PER_TOKEN} characters; ms of processor time, medians")
    results: dict[str, dict[int, dict[str, float]]] = {}
    for name in names or CONVERSATIONS:
        template, _, tools = name.partition(", ")
        renderer = ChatRenderer(tokenizer_for(trl_template(template)), date=DATE)
        found = results[name] = {tokens: measure(renderer, tokens, bool(tools)) for tokens in TOKENS}
        print(f"\n{name}\n{'tokens':>8} {'plain':>8} {'traced':>8} {'all':>8}   traced/plain   all/plain")
        for tokens, seconds in found.items():
            plain, traced, everything = (1000 * seconds[part] for part in PARTS)
            print(f"{tokens:8} {plain:8.3f} {traced:8.3f} {everything:8.3f} {traced / plain:14.2f} {everything / plain:11.2f}")
    print(
        f"\nin this run               one attributed rendering / plain      all / plain       exponent, {TOKENS[0]} to {TOKENS[-1]} tokens"
    )
    for name, found in results.items():
        least, most, all_least, all_most = (
            choose(seconds[part] / seconds["plain"] for seconds in found.values()) for part in ("traced", "all") for choose in (min, max)
        )
        exponents = ", ".join(f"{part} {growth(found, part):.2f}" for part in PARTS)
        print(f"{name:25} {least:8.2f} to {most:.2f} {'':18} {all_least:6.1f} to {all_most:<8.1f} {exponents}")


if __name__ == "__main__":
    main(sys.argv[1:])
