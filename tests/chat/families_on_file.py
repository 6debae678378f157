"""Fixtures labelled by hand: what a family's template writes, and which of it the model emits.

A file in ``families/`` is a head in YAML, a line ``---`` and a rendered conversation with its kinds marked:

    ⟦answer:It is 4.⟧    emitted by the model, and of that kind
    ⟨user:What is 2?⟩    of that kind, and not emitted by the model
    <|im_start|>         scaffolding of the template

The last line break of the file does not belong to the text. What the head may say:

    template       package and name of the template (`tests.real.TEMPLATE_PACKAGES`)
    tokenizer      a real tokenizer (`tests.real.TOKENIZERS`); without, one of bytes and the template's control tokens
    conversation   a name in ``families/conversations.yaml``
    kwargs         template arguments, such as ``enable_thinking``
    stop           the stop tokens in the model's generation config, where they are more than the tokenizer's eos
    findings       codes of the findings
    shown          ``end``: only the end of the text is shown, nothing before it is the model's; otherwise all of it
    format         where the family's format is documented, and what to look at
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from maskkit.chat.segments import RenderedText
from maskkit.kinds import KINDS
from tests.chat.conversations import Row

FOLDER = Path(__file__).parent / "families"
_OPENING = {"⟦": True, "⟨": False}
_CLOSING = {True: "⟧", False: "⟩"}


@dataclass(frozen=True, eq=False)
class Fixture:
    """One file."""

    path: Path
    head: dict[str, Any]
    marked: str

    @property
    def row(self) -> Row:
        """The conversation, with the template arguments of this fixture."""
        found = conversations()[self.head["conversation"]]
        source = str(self.path.relative_to(FOLDER))
        return Row(tuple(found["messages"]), found.get("tools"), template_kwargs=self.head.get("kwargs", {}), source=source)

    @property
    def only_end(self) -> bool:
        """Is the beginning of the text left out?"""
        return bool(self.head.get("shown") == "end")


@cache
def conversations() -> dict[str, Any]:
    """The conversations, by name."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "conversations.yaml").read_text(encoding="utf-8"))
    return found


def fixtures() -> list[Fixture]:
    """All of them, by path."""
    return [_read(path) for path in sorted(FOLDER.rglob("*.txt"))]


def _read(path: Path) -> Fixture:
    head, _, marked = path.read_text(encoding="utf-8").partition("\n---\n")
    return Fixture(path, yaml.safe_load(head), marked.removesuffix("\n"))


def labels_of(marked: str) -> tuple[str, list[tuple[str, bool]]]:
    """The text without marks and, for each of its characters, kind and whether the model emits it."""
    text, labels = "", []
    at = 0
    while at < len(marked):
        kind, generated, end = "template", False, _next_mark(marked, at)
        if marked[at] in _OPENING:
            generated = _OPENING[marked[at]]
            kind, _, _ = marked[at + 1 :].partition(":")
            at += len(kind) + 2
            end = marked.index(_CLOSING[generated], at)
        assert kind in KINDS, f"{kind!r} is no kind"
        text += marked[at:end]
        labels += [(kind, generated)] * (end - at)
        at = end + (kind != "template" or generated)
    return text, labels


def _next_mark(marked: str, at: int) -> int:
    return min((place for mark in _OPENING if (place := marked.find(mark, at)) >= 0), default=len(marked))


def marked_text(rendered: RenderedText) -> str:
    """A rendered text in the notation of the fixtures."""
    text = ""
    for (kind, generated), group in groupby(rendered.segments, lambda segment: (segment.kind.value, segment.generated)):
        piece = "".join(rendered.text[segment.start : segment.end] for segment in group)
        opening = "⟦" if generated else "⟨"
        text += piece if (kind, generated) == ("template", False) else f"{opening}{kind}:{piece}{_CLOSING[generated]}"
    return text
