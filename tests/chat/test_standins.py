"""An independent check: data as characters found nowhere else, rendered by transformers alone, must land where tracing says.

Every letter and digit of the data becomes a code point of its own (CJK extension B). Where transformers prints that code point,
tracing must name the same field and the same offset. Nothing of tracing takes part in the stand-in rendering.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from maskkit.errors import TemplateError
from tests.chat.conversations import CONVERSATIONS, Row
from tests.chat.looking import segment_at
from tests.chat.tokenizers import renderer_for, transformers_text
from tests.real import trl_templates

KEPT = {"role", "type", "name", "id"}
"""Keys whose values templates compare with constants."""


class StandIns:
    """Hands out code points, and knows what each stands for."""

    def __init__(self) -> None:
        self.places: dict[str, tuple[str, int, str]] = {}

    def of(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return "".join(self._character(c, path, i) if c.isalnum() else c for i, c in enumerate(value))
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
        return "".join(self.places[c][2] if c in self.places else c for c in text)


def compare(template: str, row: Row) -> tuple[str, int]:
    """What became of one cell, and how many characters were compared."""
    renderer = renderer_for(template)
    try:
        rendered = renderer.render(row)
    except TemplateError:
        return "refused", 0
    stand_ins = StandIns()
    messages = [stand_ins.of(dict(message), str(index)) for index, message in enumerate(row.messages)]
    try:
        text = transformers_text(renderer.tokenizer, messages, tools=row.tools, **row.template_kwargs)
    except Exception:
        return "changed", 0
    if stand_ins.back(text) != rendered.text:
        return "changed", 0
    compared = 0
    for position, character in enumerate(text):
        if character in stand_ins.places:
            path, offset, _ = stand_ins.places[character]
            message, _, field = path.partition(".")
            segment = segment_at(rendered, position)
            if segment.kind not in ("unknown", "template"):
                found = (segment.message, segment.field, segment.offset + position - segment.start)
                assert found == (int(message), "content" if field == "content" else field, offset), (path, offset, segment)
                compared += 1
    return "compared", compared


def test_transformers_alone_prints_every_character_where_tracing_says() -> None:
    outcomes, characters = Counter[str](), 0
    for title, template in trl_templates().items():
        for name, row in CONVERSATIONS.items():
            try:
                outcome, compared = compare(template, row)
            except AssertionError as error:
                raise AssertionError(f"template {title}, conversation {name!r}: {error}") from error
            outcomes[outcome] += 1
            characters += compared
    assert outcomes["changed"] <= 0.1 * outcomes["compared"]
    assert characters > 20_000
