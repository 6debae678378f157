"""One cell of the campaign: one template, one conversation, and everything about its attribution that can be checked without labels.

The text must be transformers' own. Words that say what they are must be that, or unknown. Stand-ins, characters found nowhere else,
rendered by transformers alone, must land where tracing says. And each prompt, which is put together from what the conversation's
rendering has in common with it, must be the one that rendering it in full gives.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import pytest

from maskkit.chat.segments import RenderedText
from maskkit.chat.traced import plain
from maskkit.errors import TemplateError
from tests.chat.conversations import KIND_OF_WORD, MARKED, Row
from tests.chat.looking import check_cover, codes
from tests.chat.tokenizers import renderer_for, transformers_text

GENERATED = {"reasoning", "answer", "tool_call"}
CHANNEL = "<|channel|>"
TAG = re.compile(r"</?\w+>")
KEPT = {"role", "type", "name", "id", "tool_call_id"}
"""Keys whose values templates compare with constants, or with each other."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    verdict: str
    """``exact``, ``unknown`` (in part, and said so) or ``refused`` (by transformers too)."""
    characters: int = 0
    unknown: int = 0
    """Characters that could not be attributed."""
    compared: int = 0
    """Characters whose origin stand-ins confirm."""
    prompts: int = 0


def judge(template: str, row: Row) -> Outcome:
    """Renders the cell; raises AssertionError where anything is wrong."""
    renderer = renderer_for(template)
    try:
        expected = transformers_text(renderer.tokenizer, row.messages, tools=row.tools, documents=row.documents, **row.template_kwargs)
    except Exception:
        with pytest.raises(TemplateError, match="refuses"):
            renderer.render(row)
        return Outcome("refused")
    rendered = renderer.render(row)
    assert rendered.text == expected, "another text"
    check_cover(rendered)
    _check_words(rendered)
    unknown = sum(s.end - s.start for s in rendered.segments if s.kind == "unknown")
    verdict = "unknown" if unknown else "exact"
    return Outcome(verdict, len(rendered.text), unknown, _compared(template, row, rendered), _check_prompts(template, row))


def _check_words(rendered: RenderedText) -> None:
    places = Places(rendered)
    for word in MARKED.finditer(rendered.text):
        segment = places.segment(word.start())
        wanted = KIND_OF_WORD[word[1]]
        right = segment.kind == wanted and segment.generated == (wanted in GENERATED)
        if wanted == "answer" and _channel(rendered.text, word.start()) == "analysis":
            # Harmony's templates print an answer there before a call, and one writes earlier answers there.
            right = segment.kind == "reasoning" and segment.generated
        if wanted == "answer" and "after-stop" in codes(rendered) and _has_stopped(rendered, word.start(), segment.message):
            # Shown to the model behind its calls, by templates that have it write the answer before them.
            right = segment.kind == "answer" and not segment.generated
        assert segment.kind == "unknown" or right, f"{word[0]} is {segment.kind.value}, generated {segment.generated}"
    assert all(s.generated for s in rendered.segments if s.kind == "stop"), "a stop that the model does not emit"


def _has_stopped(rendered: RenderedText, position: int, message: int) -> bool:
    """Does the stop token of the message stand before the character at ``position``?"""
    return any(s.kind == "stop" and s.message == message and s.end <= position for s in rendered.segments)


def _channel(text: str, position: int) -> str:
    """Harmony's channel that the character at ``position`` stands in."""
    begins = text.rfind(CHANNEL, 0, position) + len(CHANNEL)
    return text[begins : text.find("<|", begins)] if begins >= len(CHANNEL) else ""


class Places:
    """Finds segments by position."""

    def __init__(self, rendered: RenderedText) -> None:
        self.segments = rendered.segments
        self.starts = [segment.start for segment in rendered.segments]

    def segment(self, position: int) -> Any:
        """The segment that holds the character at ``position``."""
        return self.segments[bisect_right(self.starts, position) - 1]


class StandIns:
    """Hands out code points (CJK extension B), and knows what each stands for."""

    def __init__(self) -> None:
        self.places: dict[str, tuple[str, int, str]] = {}

    def of(self, value: Any, path: str) -> Any:
        """The value with a code point of its own for every letter and digit."""
        if isinstance(value, str):
            # Templates look for tags.
            kept = {i for tag in TAG.finditer(value) for i in range(*tag.span())}
            return "".join(self._character(c, path, i) if c.isalnum() and i not in kept else c for i, c in enumerate(value))
        if isinstance(value, dict):
            return {key: item if key in KEPT else self.of(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    def _character(self, character: str, path: str, offset: int) -> str:
        stand_in = chr(0x20000 + len(self.places))
        self.places[stand_in] = (path, offset, character)
        return stand_in

    def back(self, text: str) -> str:
        """The text that the stand-ins stand for."""
        return "".join(self.places[c][2] if c in self.places else c for c in text)


def _compared(template: str, row: Row, rendered: RenderedText) -> int:
    """How many stand-ins landed where tracing says; 0 where the template prints something else for them."""
    stand_ins = StandIns()
    messages = [stand_ins.of(dict(message), str(index)) for index, message in enumerate(row.messages)]
    try:
        text = transformers_text(
            renderer_for(template).tokenizer, messages, tools=row.tools, documents=row.documents, **row.template_kwargs
        )
    except Exception:
        return 0
    if stand_ins.back(text) != rendered.text:
        return 0
    places, compared = Places(rendered), 0
    for position, character in enumerate(text):
        if character in stand_ins.places:
            path, offset, _ = stand_ins.places[character]
            message, _, field = path.partition(".")
            segment = places.segment(position)
            if segment.kind not in ("unknown", "template"):
                found = (segment.message, segment.field, segment.offset + position - segment.start)
                assert found == (int(message), field, offset), f"{path}[{offset}] was printed, tracing says {found}"
                compared += 1
    return compared


def _check_prompts(template: str, row: Row) -> int:
    renderer = renderer_for(template)
    used = renderer._template_of(row)
    conversation, afresh = renderer._conversation(row, used), renderer._conversation(row, used)
    whole = plain(conversation.whole())
    for index, prompting in ((i, p) for i in range(1, len(row.messages)) for p in (True, False)):
        fast, full = conversation.beginning(index, prompting), afresh.render_or_none(index, prompting)
        assert (fast is None) == (full is None), f"the first {index} messages are refused once and once not"
        assert fast is None or fast.text(whole) == plain(full), f"the first {index} messages, prompting {prompting}, render differently"
    return 2 * (len(row.messages) - 1)
