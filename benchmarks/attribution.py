"""What attribution costs, as a multiple of transformers' own rendering, and how it grows with the conversation.

    python -m benchmarks.attribution [TEMPLATE...]      names of templates in the trl wheel; ``attribution.txt``: what it printed last

Processor time of one thread, the best of several interleaved repetitions, everything in one run. ``plain`` is
``tokenizer.apply_chat_template(tokenize=False)``. ``traced`` is the attributed rendering alone: the row's data traced, the template run,
and the origin of every character laid out. ``all`` is ``ChatRenderer.render``: that, transformers' own rendering once more to compare
with, the prompt of every reply, and kinds and segments.
"""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from time import thread_time
from typing import Any

from maskkit.chat import ChatRenderer
from maskkit.chat.spans import spans_of
from maskkit.records import to_record
from tests.chat.tokenizers import DATE, tokenizer_for
from tests.real import trl_template

TEMPLATES = ("qwen2_5", "llama3_1", "phi3", "gemma3", "qwen3", "deepseekv3", "gptoss")
TOKENS = (1_000, 4_000, 16_000, 64_000, 128_000)
CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE = 4, 250


def conversation(tokens: int) -> Any:
    """A conversation of messages of `TOKENS_PER_MESSAGE` tokens, counted as `CHARACTERS_PER_TOKEN` characters each."""
    text = "word " * (TOKENS_PER_MESSAGE * CHARACTERS_PER_TOKEN // 5)
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": f"{n} {text}"} for n in range(max(tokens // TOKENS_PER_MESSAGE, 2))]
    return to_record({"messages": messages})


def best(functions: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Seconds of processor time of each; the functions take turns."""
    seconds = dict.fromkeys(functions, math.inf)
    for _ in range(repetitions):
        for name, function in functions.items():
            began = thread_time()
            function()
            seconds[name] = min(seconds[name], thread_time() - began)
    return seconds


def measure(renderer: ChatRenderer, tokens: int) -> dict[str, float]:
    """Seconds for one conversation."""
    record = conversation(tokens)
    template = renderer._template_of(record)
    return best(
        {
            "plain": lambda: renderer._expected(record, template),
            "traced": lambda: spans_of(renderer._conversation(record, template).whole()),
            "all": lambda: renderer.render(record),
        },
        repetitions=25 if tokens < 5_000 else 7,
    )


def main(names: list[str]) -> None:
    """Prints one table for each template."""
    print(f"Python {platform.python_version()}, transformers {version('transformers')}, jinja2 {version('jinja2')}, {platform.machine()}")
    print(f"messages of {TOKENS_PER_MESSAGE} tokens, a token counted as {CHARACTERS_PER_TOKEN} characters; ms of processor time")
    for name in names or TEMPLATES:
        renderer = ChatRenderer(tokenizer_for(trl_template(name)), date=DATE)
        found = {tokens: measure(renderer, tokens) for tokens in TOKENS}
        print(f"\n{name}\n{'tokens':>8} {'plain':>8} {'traced':>8} {'all':>8}   traced/plain   all/plain")
        for tokens, seconds in found.items():
            plain, traced, everything = (1000 * seconds[part] for part in ("plain", "traced", "all"))
            print(f"{tokens:8} {plain:8.3f} {traced:8.3f} {everything:8.3f} {traced / plain:14.2f} {everything / plain:11.2f}")
        span = math.log(TOKENS[-1] / TOKENS[0])
        grows = {part: math.log(found[TOKENS[-1]][part] / found[TOKENS[0]][part]) / span for part in ("plain", "traced", "all")}
        print("exponent, 1k to 128k:", ", ".join(f"{part} {exponent:.2f}" for part, exponent in grows.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
